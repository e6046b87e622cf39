"""The HTTP API and the pages it serves. Nothing here imports torch: `predict` runs the small forecaster on request."""
