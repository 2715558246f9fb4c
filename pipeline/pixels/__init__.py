"""Pixels: which are valid, how they become 8 bit, how they reach the lattice. numpy and numba."""
