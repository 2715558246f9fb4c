"""Kestrel: small oriented objects in very large aerial and satellite scenes, found exactly and without loss."""

__version__ = "0.1.0"
