"""A black-box suite that judges any tus server by its URL: `python -m conformance URL`."""

__version__ = "0.1.0"
