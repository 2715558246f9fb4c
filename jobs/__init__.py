"""Command lines: parse, call pipeline, exit code. No logic."""
