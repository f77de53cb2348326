"""Programs that measure; run as modules from the repository."""
