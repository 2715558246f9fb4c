"""What lies in an output folder, told as one collection: by scene, by model, and all detections as one table."""
