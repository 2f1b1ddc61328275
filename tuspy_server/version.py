"""The version of the distribution; the only place that holds it."""

VERSION = "0.1.0"
