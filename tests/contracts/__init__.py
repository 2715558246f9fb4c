"""What every implementation of a protocol promises: subclass one, and it is checked."""
