"""Oriented boxes: representations, frames, overlap, and the merge of all detections of a scene. numpy and numba."""
