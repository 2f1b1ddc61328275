"""Bad input: its 4xx with a short reason of ours, nothing changed, nothing sent back (I11, X19)."""

from __future__ import annotations

import base64

import pytest

from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served
from tests.web.wire import BODY, TUS, Fields, Reply, head

pytestmark = ON_BOTH_CLASSES

MARK = "CANARY7f3a"
"""Put into bad values where they may hold anything; no answer may hold it."""

NUMBERS = [
    "-1", "abc", "1.5", "1e3", "0x10", "", "+5", "1_0", "\xb2", "9223372036854775808", "9" * 30, "5 5", "5,5", MARK,
    "\xef\xbc\x95", "0" * 5000,
]  # fmt: skip


def is_short_refusal(reply: Reply, status: int) -> bool:
    """4xx, one line of text, and none of what was sent."""
    assert reply.status == status, reply.text
    assert reply["Content-Type"] == "text/plain; charset=utf-8"
    assert len(reply.body) < 120
    assert reply.body.count(b"\n") == 1
    assert reply.body.isascii()
    assert MARK not in reply.text
    assert "Location" not in reply
    return True


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: ascii(text)[:24])
async def test_a_length_that_is_no_number_creates_nothing(server: Served, text: str) -> None:
    """CREA-POST-06, CREA-POST-09, R03."""
    before = server.snapshot()
    assert is_short_refusal(await server.post({"Upload-Length": text}), 400)
    assert server.snapshot() == before


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: ascii(text)[:24])
async def test_an_offset_or_length_that_is_no_number_changes_nothing(server: Served, text: str) -> None:
    """CORE-PATCH-07, CORE-PATCH-08."""
    target = await server.create(None, b"hello")
    before = server.snapshot()
    assert is_short_refusal(await server.patch(target, 5, b"x", {"Upload-Offset": text}), 400)
    assert is_short_refusal(await server.patch(target, 5, b"x", {"Upload-Length": text}), 400)
    assert server.snapshot() == before


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({}, 400, id="CREA-POST-05"),
        pytest.param({"Upload-Length": "5", "Upload-Metadata": f"{MARK} !!!"}, 400, id="CREA-META-04 value"),
        pytest.param({"Upload-Length": "5", "Upload-Metadata": f"{MARK} YQ==,"}, 400, id="CREA-META-04 member"),
        pytest.param({"Upload-Length": "5", "Upload-Metadata": f"{MARK} YQ==,{MARK}"}, 400, id="CREA-META-03"),
        pytest.param({"Upload-Length": "5", "Upload-Metadata": f"{MARK} YQ"}, 400, id="CREA-META-06"),
        pytest.param({"Upload-Length": "5", "Upload-Metadata": f"\xe9{MARK} YQ=="}, 400, id="a key beyond ASCII"),
        pytest.param({"Upload-Defer-Length": MARK}, 400, id="DEFER-09"),
        pytest.param({"Upload-Length": "5", "Upload-Concat": MARK}, 400, id="CORE-EXT-01"),
        pytest.param({"Upload-Length": "5", "Tus-Resumable": MARK}, 412, id="CORE-VER-02"),
        pytest.param({"Upload-Length": "5", "X-HTTP-Method-Override": MARK}, 405, id="CORE-METH-01"),
        pytest.param({"Upload-Length": "5", **BODY, "Upload-Checksum": f"{MARK} AAAA"}, 400, id="CSUM-05"),
        pytest.param({"Upload-Length": "5", **BODY, "Upload-Checksum": MARK}, 400, id="CSUM-07"),
        pytest.param({"Upload-Length": "5", "Upload-Metadata": "a " + "A" * 8200}, 431, id="CREA-META-09"),
        pytest.param({"Upload-Length": "5", "X-Long": MARK * 3300}, 431, id="header bytes"),
    ],
)
async def test_a_bad_post_creates_nothing(server: Served, fields: dict[str, str], status: int) -> None:
    before = server.snapshot()
    assert is_short_refusal(await server.post(fields), status)
    assert server.snapshot() == before


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", f"text/{MARK}", MARK],
)
async def test_forms_are_never_read(server: Served, content_type: str) -> None:
    """X21, CWU-04, CORE-PATCH-03: not by any route."""
    target = await server.create(5)
    before = server.snapshot()
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    fields = {"Content-Type": content_type, "Upload-Length": "500"}
    assert is_short_refusal(await server.post(fields, body), 415)
    assert is_short_refusal(await server.patch(target, 0, body, {"Content-Type": content_type}), 415)
    for route in ("/", "/livez", "/readyz", "/metrics"):
        assert (await server.request("POST", route, {"Content-Type": content_type}, body)).status == 405
    assert server.snapshot() == before


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Length", "Tus-Resumable", "Upload-Checksum", "Content-Type"])
async def test_two_lines_that_differ_are_400(server: Served, name: str) -> None:
    """CORE-PATCH-09: neither the first nor the last is believed."""
    target = await server.create(None)
    before = server.snapshot()
    sound = {**BODY, "Upload-Offset": "0", "Upload-Length": "5", "Upload-Checksum": f"md5 {'A' * 22}=="}
    lines = [*sound.items(), (name, f"0{MARK}")]
    assert is_short_refusal(await server.request("PATCH", target, lines, b"hello"), 400)
    assert server.snapshot() == before


async def test_two_lines_of_a_post_that_differ_are_400(server: Served) -> None:
    """CORE-PATCH-09."""
    before = server.snapshot()
    for lines in (
        [("Upload-Length", "5"), ("Upload-Length", "6")],
        [("Upload-Length", "5"), ("Upload-Metadata", "a YQ=="), ("Upload-Metadata", "b Yg==")],
    ):
        assert is_short_refusal(await server.request("POST", "/files/", [*TUS.items(), *lines]), 400)
    assert server.snapshot() == before


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], id="CORE-PATCH-30"),
        pytest.param([("Content-Length", "5"), ("Content-Length", "6")], id="two lengths"),
        pytest.param([("Content-Length", "-5")], id="a negative length"),
        pytest.param([("Content-Length", "5_0")], id="an underscore"),
        pytest.param([("Transfer-Encoding", "chunked, identity")], id="chunked not last"),
    ],
)
async def test_framing_that_two_servers_might_read_in_two_ways_is_400(server: Served, fields: Fields) -> None:
    """X18: by the HTTP parser, before our code."""
    target = await server.create(50)
    before = server.snapshot()
    lines = [*BODY.items(), ("Upload-Offset", "0"), *fields]
    assert (await server.raw(head("PATCH", target, lines) + b"0\r\n\r\nhello")).status == 400
    assert server.snapshot() == before


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"Upload-Length: 5\r\n 0\r\n", id="a folded line"),
        pytest.param(b"Upload-Length : 5\r\n", id="a blank before the colon"),
        pytest.param(b"Upload-Length\r\n", id="no colon"),
        pytest.param(b": 5\r\n", id="no name"),
        pytest.param(b"Upload-Length: 5\x00\r\n", id="NUL in a value"),
        pytest.param(b"Upload-Le\x00ngth: 5\r\n", id="NUL in a name"),
    ],
)
async def test_a_head_that_two_servers_might_read_in_two_ways_is_400(server: Served, lines: bytes) -> None:
    """X18."""
    before = server.snapshot()
    start = b"POST /files/ HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n"
    assert (await server.raw(start + lines + b"\r\n")).status == 400
    assert server.snapshot() == before


HOSTILE = [
    "..", "../", "../../etc/passwd", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5c", "%00", "\\..\\x", "%ff",
    "%c0%ae%c0%ae/", "%EF%BC%8E%EF%BC%8E/", "%0d%0aX-Evil:%20CANARY7f3a", "%1b[31mCANARY7f3a", "a" * 8192, "//",
    "CANARY7f3a", "0" * 31, "0" * 33, "G" * 32, "0" * 31 + "%00", "0" * 32 + "%0a", "0" * 32 + "/..", "%252e%252e",
]  # fmt: skip


@pytest.mark.parametrize("suffix", HOSTILE, ids=lambda suffix: ascii(suffix)[:24])
@pytest.mark.parametrize("method", ["HEAD", "GET", "PATCH", "DELETE"])
async def test_a_hostile_id_is_404(server: Served, method: str, suffix: str) -> None:
    """CORE-URL-02, X01, X08: the same for all, and no path is made of it."""
    before = server.snapshot()
    reply = await server.request(method, f"/files/{suffix}", {**BODY, "Upload-Offset": "0"})
    assert reply.status == 404
    assert MARK not in reply.text
    assert server.snapshot() == before


@pytest.mark.parametrize("target", ["/files/\xff", "files/x", "", "/files/ /x", "http://", "*"])
async def test_a_target_that_is_no_url_is_no_5xx(server: Served, target: str) -> None:
    """CORE-URL-02."""
    reply = await server.raw(head("HEAD", target, TUS), "HEAD")
    assert 400 <= reply.status < 500


async def test_other_spellings_of_an_id_lead_to_the_same_upload(server: Served) -> None:
    """CORE-URL-02, CORE-URL-04: a slash at the end, a query, a digit that is percent-encoded."""
    target = await server.create(5, b"abc")
    encoded = f"/files/%{ord(target[7]):02x}{target[8:]}"
    for spelling in (f"{target}/", f"{target}?a=1", encoded, f"/files%2F{target[7:]}"):
        assert (await server.look(spelling))["Upload-Offset"] == "3"
    assert (await server.look(target.upper())).status == 404
    assert (await server.patch(f"{encoded}?x=%00", 3, b"de")).status == 204
    assert (await server.request("DELETE", f"{target}/", TUS)).status == 204


async def test_header_bytes_are_limited(serve: Serve) -> None:
    """I10: one byte more than the setting allows is 431, for every method, HEAD too."""
    server = await serve(max_header_bytes=1024)
    target = await server.create(5)
    sound = [("Host", "h"), *TUS.items(), ("Upload-Length", "5")]
    room = 1024 - sum(len(name) + len(value) for name, value in sound) - len("X-Fill")
    assert (await server.request("POST", "/files/", [*sound, ("X-Fill", "x" * room)])).status == 201
    assert (await server.request("POST", "/files/", [*sound, ("X-Fill", "x" * (room + 1))])).status == 431
    assert (await server.request("HEAD", target, [*sound, ("X-Fill", "x" * 2000)])).status == 431


async def test_metadata_that_is_base64_of_anything_is_data(server: Served) -> None:
    """X02, X19: names that would harm a path or a log line are kept as they are, and used for neither."""
    for name in (
        b"../../etc/passwd",
        b"CON",
        b".htaccess",
        b"a\x00b",
        b"\x1b[31m",
        b"\r\n{}",
        "\u202egpj.exe".encode(),
    ):
        raw = f"filename {base64.b64encode(name).decode()}"
        target = await server.create(5, b"hello", metadata=raw)
        assert (await server.look(target))["Upload-Metadata"] == raw
    names = [key.rpartition("/")[2] for key in server.snapshot() if "/files/" in key]
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in names)
