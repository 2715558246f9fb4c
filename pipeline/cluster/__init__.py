"""The executor over Ray. Ray's home."""
