"""Truth, for training and for evaluation alike."""
