"""Where to look again, and what both looks say."""
