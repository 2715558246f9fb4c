"""Where pixels lie on Earth. pyproj's home."""

from pipeline.config.environment import hidden

with hidden():  # it reads the environment while it is imported
    import pyproj  # noqa: F401
