"""The log between the stages, by address."""
