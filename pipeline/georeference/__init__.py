"""Where pixels lie on Earth. pyproj's home."""
