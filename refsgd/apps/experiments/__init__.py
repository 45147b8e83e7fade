"""Programs that show what the library does, on real data."""
