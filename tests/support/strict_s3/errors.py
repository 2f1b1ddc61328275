"""What S3 says no with."""

from __future__ import annotations

from html import escape


class S3Error(Exception):
    """An answer with a status and one of S3's codes."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def xml(self) -> str:
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message or self.code)}</Message>"
            "<RequestId>strict</RequestId></Error>"
        )


class Cut(Exception):
    """The connection is cut, and the client never hears of this call."""


def no_such_upload() -> S3Error:
    return S3Error(404, "NoSuchUpload", "The specified upload does not exist: it was completed, aborted or never made.")


def no_such_key() -> S3Error:
    return S3Error(404, "NoSuchKey", "The specified key does not exist.")


def invalid_part(message: str) -> S3Error:
    return S3Error(400, "InvalidPart", message)


def invalid_request(message: str) -> S3Error:
    return S3Error(400, "InvalidRequest", message)


def invalid_argument(message: str) -> S3Error:
    return S3Error(400, "InvalidArgument", message)


def malformed(message: str) -> S3Error:
    return S3Error(400, "MalformedXML", message)


def precondition_failed() -> S3Error:
    return S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def not_implemented(what: str) -> S3Error:
    return S3Error(501, "NotImplemented", f"A header or query you provided is not implemented: {what}")
