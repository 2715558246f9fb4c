"""The main path of a run, and what it leaves behind."""
