"""Scenes that arrive on their own: where they lie, which are new, what became of each."""
