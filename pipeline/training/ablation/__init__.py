"""Many trainings that differ in one thing each, and the table of what came of them."""
