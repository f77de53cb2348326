"""The HTTP interface below /api/v1: one module a subject, each with a `router`."""
