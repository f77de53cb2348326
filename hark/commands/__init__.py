"""The `hark` program."""
