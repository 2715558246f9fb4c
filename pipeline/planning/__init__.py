"""Scene → what to do, before a pixel reaches a detector."""
