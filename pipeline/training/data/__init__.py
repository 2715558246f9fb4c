"""From annotated scenes to batches."""
