"""Our own detector: an RT-DETR whose boxes turn."""
