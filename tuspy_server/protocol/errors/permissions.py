"""What the API, jobs and hooks refuse: 4xx that a client does not retry."""

from __future__ import annotations

from tuspy_server.protocol.errors.base import Headers
from tuspy_server.protocol.errors.requests import FixRequest


class InvalidJson(FixRequest):
    """400: the body is no JSON text in UTF-8."""

    status = 400
    code = "invalid_json"

    def __init__(self) -> None:
        super().__init__("the body is no valid JSON")


class InvalidParameter(FixRequest):
    """400: a parameter of the query is unknown, doubled or malformed."""

    status = 400
    code = "invalid_parameter"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


class Unauthorized(FixRequest):
    """401: who asks has to say who it is."""

    status = 401
    code = "unauthorized"

    def __init__(self, reason: str = "this needs a token") -> None:
        super().__init__(reason)

    def headers(self) -> Headers:
        """`WWW-Authenticate`."""
        return (("WWW-Authenticate", "Bearer"),)


class Forbidden(FixRequest):
    """403: who asks may not do this."""

    status = 403
    code = "forbidden"

    def __init__(self) -> None:
        super().__init__("not allowed")


class Refused(FixRequest):
    """A hook's refusal, with the status and the text that it has chosen.

    `status` is one that clients do not retry: 400 to 499, but not 409, 423 and 460.
    """

    code = "refused"

    def __init__(self, text: str = "refused", status: int = 403) -> None:
        if status // 100 != 4 or status in {409, 423, 460}:  # noqa: PLR2004  # the class of RFC 9110 15.5
            raise ValueError("a refusal has a status from 400 to 499 that no client retries: not 409, 423 or 460")
        super().__init__(text)
        self.status = status  # type: ignore[misc]  # the one error whose status its maker chooses


class NotFound(FixRequest):
    """404: nothing is at this path."""

    status = 404
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("nothing is here")


class JobNotFound(FixRequest):
    """404: no such job, or one of somebody else's (I9)."""

    status = 404
    code = "job_not_found"

    def __init__(self) -> None:
        super().__init__("no such job")


class JobClosed(FixRequest):
    """409: the job was cancelled and takes no more files."""

    status = 409
    code = "job_closed"

    def __init__(self) -> None:
        super().__init__("the job takes no more files")


class IdTaken(FixRequest):
    """409: an upload or a job of this id exists, or an object of this key."""

    status = 409
    code = "id_taken"

    def __init__(self) -> None:
        super().__init__("the id is taken")


class BodyTooLarge(FixRequest):
    """413: the body of a request to the API is larger than one may be."""

    status = 413
    code = "body_too_large"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the body may have {most_bytes} bytes at most")


class NotJson(FixRequest):
    """415: the API takes `Content-Type: application/json`."""

    status = 415
    code = "not_json"

    def __init__(self) -> None:
        super().__init__("Content-Type must be application/json")


class InvalidRequest(FixRequest):
    """422: the body is JSON, but does not say what it should. The answer points to the place."""

    status = 422
    code = "invalid_request"


class TypeNotAllowed(FixRequest):
    """415: the application takes no file of the type that the upload's metadata declare. Clients do not retry it."""

    status = 415
    code = "type_not_allowed"

    def __init__(self) -> None:
        super().__init__("files of this type are not taken")
