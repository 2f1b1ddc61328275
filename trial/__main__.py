"""`python -m trial` is `make serve-s3`."""

import signal
import sys

# While things are imported, Ctrl-C just ends us: nothing runs yet.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from trial.serving import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
