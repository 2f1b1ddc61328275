"""A request that has come in whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tests.support.strict_s3.errors import invalid_argument, malformed
from tests.support.strict_s3.faults import Fault
from tests.support.strict_s3.operations import Call


@dataclass(frozen=True, kw_only=True)
class Received:
    call: Call
    body: bytes
    checksums: Mapping[str, str]
    """Those that were sent and hold, by algorithm."""

    faults: Sequence[Fault] = ()

    def xml(self) -> ET.Element:
        """Raises:
        S3Error: 400 MalformedXML.
        """
        try:
            return ET.fromstring(self.body)
        except ET.ParseError:
            raise malformed("The XML you provided was not well-formed.") from None

    def limit(self, name: str, most: int) -> int:
        """A page's size as asked for, at most ours.

        Raises:
            S3Error: 400, no number.
        """
        text = self.call.query.get(name, str(most))
        if not text.isdecimal():
            raise invalid_argument(f"Argument {name} must be an integer")
        return min(int(text), most)
