"""What does the work of one scene. Knows no Ray."""
