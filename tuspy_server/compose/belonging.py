"""Files of uploads belong to the rows that count them: a database that knows none of them is the wrong one."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from tuspy_server.model import UPLOAD_ID
from tuspy_server.ports import UploadStore


class FilesWithoutRows(OSError):
    """The folder holds files of uploads, and the database not one row."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file.parent.absolute()} holds files of uploads, but the database knows none, such as {file.name}: it is "
            "new, or another one, or its log is missing. Restore it from its backup; or move the files away, and begin "
            "anew"
        )


class FilesBelong:
    """A `Service` that looks once, at the start. To serve on would answer 404 for every upload, and their clients would
    begin anew for good (fault D09)."""

    def __init__(self, folder: Path, uploads: UploadStore) -> None:
        self._folder = folder
        self._uploads = uploads

    async def open(self) -> None:
        """Compare.

        Raises:
            FilesWithoutRows: they do not belong together.
        """
        file = await asyncio.to_thread(self._any_file)
        if file is not None and not await self._uploads.has_any():
            raise FilesWithoutRows(file)

    async def close(self) -> None:
        """There is nothing to close."""

    def _any_file(self) -> Path | None:
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if UPLOAD_ID.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    return Path(entry.path)
        return None
