"""Where Debian keeps servers, which is not on everybody's PATH."""

from __future__ import annotations

import os
import shutil


def find(name: str) -> str | None:
    """A program's path; None: it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
