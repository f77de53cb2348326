"""The pages: one module a screen, each with a `router`."""
