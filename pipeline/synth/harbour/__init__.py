"""Procedural harbours that look like Sentinel-2 scenes, with their ships known."""
