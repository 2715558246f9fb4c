"""What is written: one file a format."""

from pipeline.config.environment import hidden

with hidden():  # it reads the environment while it is imported
    import pyogrio  # noqa: F401
