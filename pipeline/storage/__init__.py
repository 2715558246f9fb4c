"""Files and folders, wherever they lie. fsspec's home."""
