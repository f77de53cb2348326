"""The shipped configuration, as data."""
