"""Published results against truth of any kind, without the detector."""
