"""`protocol/errors.py`: every error knows its answer, and its status sends the client the right way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tuspy_server.protocol import errors
from tuspy_server.protocol.errors import FixRequest, Headers, Resend, TryLater, TusError

SAMPLES: tuple[tuple[TusError, int, Headers], ...] = (
    (TusError("internal error"), 500, ()),
    (errors.FixRequest(), 500, ()),
    (errors.InvalidHeader("Upload-Offset", "is required"), 400, ()),
    (errors.InvalidMetadata("a key appears twice"), 400, ()),
    (errors.UnknownChecksumAlgorithm(), 400, ()),
    (errors.InvalidJson(), 400, ()),
    (errors.InvalidParameter("limit", "must be a number"), 400, ()),
    (errors.NotDownloadable(), 403, ()),
    (errors.Unauthorized(), 401, (("WWW-Authenticate", "Bearer"),)),
    (errors.Forbidden(), 403, ()),
    (errors.Refused("not here"), 403, ()),
    (errors.NotFound(), 404, ()),
    (errors.JobNotFound(), 404, ()),
    (errors.JobClosed(), 409, ()),
    (errors.IdTaken(), 409, ()),
    (errors.HookFailed(), 500, ()),
    (errors.UploadNotFound(), 404, ()),
    (errors.MethodNotAllowed(("OPTIONS", "POST")), 405, (("Allow", "OPTIONS, POST"),)),
    (errors.UploadGone(), 410, ()),
    (errors.UnsupportedVersion(), 412, (("Tus-Version", "1.0.0"),)),
    (errors.PreconditionFailed(), 412, ()),
    (errors.UploadTooLarge("too large"), 413, ()),
    (errors.BodyTooLarge(1000), 413, ()),
    (errors.NotJson(), 415, ()),
    (errors.WrongContentType(), 415, ()),
    (errors.TypeNotAllowed(), 415, ()),
    (errors.RangeNotSatisfiable(10), 416, (("Content-Range", "bytes */10"),)),
    (errors.InvalidRequest("must be a list"), 422, ()),
    (errors.HeadersTooLarge("too many"), 431, ()),
    (errors.Resend(), 500, ()),
    (errors.OffsetMismatch(5), 409, (("Upload-Offset", "5"),)),
    (errors.NotFinished(), 409, ()),
    (errors.UploadBusy(), 423, (("Retry-After", "1"),)),
    (errors.UploadBusy("being finished", 7), 423, (("Retry-After", "7"),)),
    (errors.WriterFenced(), 423, (("Retry-After", "1"),)),
    (errors.ChecksumMismatch(), 460, ()),
    (errors.TryLater(), 503, (("Retry-After", "5"),)),
    (errors.Draining(), 503, (("Retry-After", "5"),)),
    (errors.BodyStalled(), 503, (("Retry-After", "1"),)),
    (errors.Overloaded(), 503, (("Retry-After", "5"),)),
    (errors.StoreUnavailable(), 503, (("Retry-After", "5"),)),
    (errors.StorageFault(), 503, (("Retry-After", "5"),)),
    (errors.StorageFull(), 507, (("Retry-After", "30"),)),
)
GROUPS = {TusError, FixRequest, Resend, TryLater}


def is_of_the_application(error: TusError) -> bool:
    """Whether it answers a choice of the application, not one of a tus client that would go on."""
    return isinstance(error, errors.JobClosed | errors.IdTaken)


def subclasses(base: type[TusError]) -> Iterator[type[TusError]]:
    for child in base.__subclasses__():
        yield child
        yield from subclasses(child)


@pytest.mark.parametrize(("error", "status", "headers"), SAMPLES, ids=lambda item: type(item).__name__)
def test_an_error_knows_its_status_and_headers(error: TusError, status: int, headers: Headers) -> None:
    """CORE-VER-02, CORE-METH-01, CORE-PATCH-25, CSUM-03."""
    assert (error.status, error.headers()) == (status, headers)


def test_every_error_is_in_the_table() -> None:
    ours = {error for error in subclasses(TusError) if error.__module__ == errors.__name__}
    assert ours <= {type(error) for error, _, _ in SAMPLES}


def test_codes_are_unique_and_stable_names() -> None:
    concrete = [error for error in subclasses(TusError) if error not in GROUPS and error.__module__ == errors.__name__]
    codes = [error.code for error in concrete]
    assert len(set(codes)) == len(codes)
    assert all(code.isascii() and code.replace("_", "").islower() for code in codes)


@pytest.mark.parametrize("error", [error for error, _, _ in SAMPLES if type(error) not in GROUPS], ids=ascii)
def test_the_group_says_what_the_client_does_next(error: TusError) -> None:
    """CORE-PATCH-32: tus-js-client goes on after 5xx, 409 and 423, and gives up on other 4xx."""
    match error:
        case FixRequest():
            known = {400, 401, 403, 404, 405, 410, 412, 413, 415, 416, 422, 431}
            assert error.status in known or is_of_the_application(error)
        case Resend():
            assert error.status in {409, 423, 460}
        case _:
            if isinstance(error, errors.HookFailed):
                return
            assert isinstance(error, TryLater)
            assert error.status in {503, 507}
            assert ("Retry-After", str(error.retry_after_seconds)) in error.headers()


def test_only_answers_that_leave_a_body_unread_close_the_connection() -> None:
    assert {type(error) for error, _, _ in SAMPLES if error.closes} == {errors.Draining, errors.BodyStalled}
