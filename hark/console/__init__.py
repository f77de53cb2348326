"""The web application: health, metrics, the HTTP interface."""
