"""What a network is told about its answers."""
