"""Whether an answer may be given: what it shows is noted in the book, what it must not say is a complaint."""

from __future__ import annotations

import asyncio
import traceback

from tests.uploads.book import Book, Entry, Request
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.errors import (
    BodyStalled,
    ChecksumMismatch,
    ClientDisconnected,
    Draining,
    HookFailed,
    OffsetMismatch,
    TryLater,
    TusError,
    UploadGone,
    UploadNotFound,
    UploadTooLarge,
)


def judge(request: Request, book: Book, *, faulted: bool) -> None:
    """Settle a request whose task has ended."""
    task = request.task
    assert task is not None
    entry = book.entries.get(request.upload_id or "")
    if task.cancelled():
        request.answer = "cancelled"
        return
    error = task.exception()
    request.answer = "success" if error is None else type(error).__name__
    match error:
        case None:
            if request.kind not in ("sweep", "delete") and entry is not None:
                _judge_success(request, task.result(), entry, book)
        case ClientDisconnected():
            if not request.body.disconnected:
                book.complain("ClientDisconnected, though the client is there")
        case asyncio.CancelledError():
            pass
        case TusError():
            _judge_refusal(request, error, entry, book, faulted=faulted)
        case _:
            book.complain("crashed: " + "".join(traceback.format_exception(error)))
    if request.kind == "create" and error is not None and entry is not None and not faulted and entry.end is None:
        book.complain(f"{request.answer} for a creation, and the upload stays")
    if request.checksum != "none" and request.counted_bytes not in (0, len(request.planned)):
        book.complain(f"{request.counted_bytes} of {len(request.planned)} bytes with a checksum were counted")


def _judge_success(request: Request, upload: Upload, entry: Entry, book: Book) -> None:
    if request.kind == "create":
        entry.known = True
    if not upload.is_gone and (request.kind, upload.status) != ("head", UploadStatus.COMPLETING):  # that one is 423
        book.shown(entry.upload_id, upload.upload_offset)
    if request.kind == "patch":
        end = request.start + len(request.body.sent)
        if not request.body.ended or upload.upload_offset != end:
            book.complain(f"204 with offset {upload.upload_offset} for bytes up to {end}")
        if request.checksum == "wrong" and request.planned:
            book.complain("204 for a wrong checksum")
    if request.kind != "head" and request.checksum == "wrong" and request.counted_bytes:
        book.complain("bytes with a wrong checksum were counted")
    if request.kind == "create" and upload.status is UploadStatus.UPLOADING and entry.length == 0:
        book.complain("201 for a zero-length upload that is not finished")


def _judge_refusal(request: Request, error: TusError, entry: Entry | None, book: Book, *, faulted: bool) -> None:
    match error:
        case OffsetMismatch() if entry is not None:
            book.shown(entry.upload_id, error.upload_offset)
        case ChecksumMismatch():
            if request.checksum != "wrong" and request.body.sent == request.planned:
                book.complain("460 for a right checksum")
            if request.counted_bytes:
                book.complain("460, and its bytes were counted")
        case UploadTooLarge() | UploadGone() | BodyStalled() | Draining():
            pass
        case UploadNotFound():
            book.complain("404 for an upload that there is")
        case TryLater() | HookFailed():
            if not faulted:
                book.complain(f"{type(error).__name__}, though nothing failed")
        case _:
            if error.status >= 500:
                book.complain(f"{error.status} {type(error).__name__}")
