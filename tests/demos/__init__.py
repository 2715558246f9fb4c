"""Demonstrations that need a server which only the tests have."""
