"""What tests share: scenes, checkpoints, servers, faults."""
