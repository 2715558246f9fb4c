"""Learning: annotated scenes → the weights of an oriented detector."""
