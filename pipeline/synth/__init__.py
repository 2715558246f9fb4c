"""Scenes of our own making: harbours for demos and training, plain fields of objects for tests, and an oracle."""
