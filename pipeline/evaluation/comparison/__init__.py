"""Strategies of looking compared at equal cost."""
