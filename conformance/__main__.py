"""`python -m conformance`, the same as the console script `tus-conformance`."""

import sys

from conformance.cli import main

if __name__ == "__main__":
    sys.exit(main())
