"""Pictures of a scene with its detections. pillow's home."""
