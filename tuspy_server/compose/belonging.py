"""Files of uploads belong to the rows that count them: a database that knows none of them is the wrong one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tuspy_server.model import UPLOAD_ID
from tuspy_server.ports import UploadStore


class FilesWithoutRows(OSError):
    """The folder holds files of uploads, and the database not one row."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder.absolute()} holds files of uploads, but the database knows none: it is new, or another one, or "
            "its log is missing. Restore it from its backup, or move the files away to begin anew"
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
        if await asyncio.to_thread(self._holds_any) and not await self._uploads.count_by_status():
            raise FilesWithoutRows(self._folder)

    async def close(self) -> None:
        """There is nothing to close."""

    def _holds_any(self) -> bool:
        try:
            with os.scandir(self._folder) as entries:
                return any(UPLOAD_ID.fullmatch(entry.name) for entry in entries)
        except FileNotFoundError:
            return False
