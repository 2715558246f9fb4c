"""Hostile bytes: small scenes, areas of interest and model cards, damaged at random, by the tens of thousands.

``python -m tests.fuzz --cases 20000 --seed 0`` prints the table; its exit code is 0 when no case was a defect.
"""
