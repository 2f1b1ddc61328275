"""An S3 server that is as strict as AWS, or differs from it as some stores do, and that fails as a test wants it to.

It stands in front of a real gateway, which keeps the objects; multipart uploads it keeps itself.

    async with StrictS3(gateway.make_bucket("uploads")) as strict:
        strict.fail("UploadPart", nth=2, with_=Status(503, "SlowDown"))
        hold = strict.hold("PutObject")
        ...                         # the server under test, on strict.bucket.endpoint_url
        await hold.reached()
        hold.release()
        assert strict.calls["UploadPart"] == 3
"""

from tests.support.strict_s3.faults import (
    CutAnswer,
    CutBody,
    Delay,
    ErrorInOk,
    Fault,
    FlipIn,
    FlipOut,
    HideParts,
    Hold,
    LoseAnswer,
    RefuseKeys,
    Stall,
    Status,
)
from tests.support.strict_s3.plan import Logged, Plan
from tests.support.strict_s3.rules import Rules
from tests.support.strict_s3.server import StrictS3

__all__ = [
    "CutAnswer",
    "CutBody",
    "Delay",
    "ErrorInOk",
    "Fault",
    "FlipIn",
    "FlipOut",
    "HideParts",
    "Hold",
    "Logged",
    "LoseAnswer",
    "Plan",
    "RefuseKeys",
    "Rules",
    "Stall",
    "Status",
    "StrictS3",
]
