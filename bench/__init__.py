"""The bench: our server and its peers under one load, in turn, in one run. `python -m bench --help`."""
