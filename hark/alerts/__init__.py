"""Detectors: when a count is more than its past explains."""
