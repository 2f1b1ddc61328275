"""Downloads that do no harm: types, names, and the headers that stop browsers from guessing (X02, X03, X05)."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import Serve
from tests.web.served import Served
from tuspy_server.protocol.described import INLINE_TYPES, content_disposition, safe_filename


def encoded(key: str, value: str | bytes) -> str:
    raw = value.encode() if isinstance(value, str) else value
    return f"{key} {base64.b64encode(raw).decode()}"


@pytest.mark.parametrize(
    ("filetype", "content_type", "kind"),
    [
        ("image/png", "image/png", "inline"),
        ("IMAGE/PNG; charset=x", "image/png", "inline"),
        ("text/plain", "text/plain; charset=utf-8", "inline"),
        ("video/mp4", "video/mp4", "inline"),
        ("text/html", "application/octet-stream", "attachment"),
        ("image/svg+xml", "application/octet-stream", "attachment"),
        ("application/xml", "application/octet-stream", "attachment"),
        ("application/pdf", "application/octet-stream", "attachment"),
        ("text/javascript", "application/octet-stream", "attachment"),
        ("image/png\r\nX-Evil: 1", "application/octet-stream", "attachment"),
        ("text/html,image/png", "application/octet-stream", "attachment"),
        ("", "application/octet-stream", "attachment"),
        (b"\xff\xfe", "application/octet-stream", "attachment"),
    ],
)
@pytest.mark.parametrize("key", ["filetype", "type"])
async def test_only_types_that_run_nothing_are_shown(
    server: Served, key: str, filetype: str | bytes, content_type: str, kind: str
) -> None:
    """CORE-GET-02, X05."""
    target = await server.create(5, b"<svg>", metadata=encoded(key, filetype))
    for method in ("GET", "HEAD"):
        reply = await server.request(method, target)
        assert (reply["Content-Type"], reply["Content-Disposition"]) == (content_type, kind)
        assert reply["X-Content-Type-Options"] == "nosniff"
        assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_no_type_that_can_run_is_shown() -> None:
    """X05."""
    assert not [name for name in INLINE_TYPES if re.search(r"html|xml|svg|script|pdf|css|json", name)]


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ("my file (1).txt", 'attachment; filename="my file (1).txt"'),
        ("é.txt", "attachment; filename=\"e.txt\"; filename*=UTF-8''%C3%A9.txt"),
        ("🐘.txt", "attachment; filename=\"txt\"; filename*=UTF-8''%F0%9F%90%98.txt"),
        ("日本", "attachment; filename=\"download\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ('a"; filename="b', "attachment; filename=\"a__ filename=_b\"; filename*=UTF-8''a%22%3B%20filename%3D%22b"),
        ("a\r\nSet-Cookie: x=1", "attachment; filename=\"aSet-Cookie_ x=1\"; filename*=UTF-8''aSet-Cookie%3A%20x%3D1"),
        ("a\x00b", 'attachment; filename="ab"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("C:\\x\\y.txt", 'attachment; filename="y.txt"'),
        ("..", "attachment"),
        ("", "attachment"),
        (".htaccess", 'attachment; filename="htaccess"'),
        ("\u202egpj.exe", 'attachment; filename="gpj.exe"'),
        ("\u2066a\u2069.txt", 'attachment; filename="a.txt"'),
        ("%0d%0a.txt", "attachment; filename=\"_0d_0a.txt\"; filename*=UTF-8''%250d%250a.txt"),
        ("x" * 300, f'attachment; filename="{"x" * 255}"'),
    ],
    ids=lambda text: ascii(text)[:24],
)
async def test_a_filename_cannot_leave_its_quotes(server: Served, filename: str, disposition: str) -> None:
    """CORE-GET-02, CREA-META-08, X02, X03."""
    target = await server.create(5, b"hello", metadata=encoded("filename", filename))
    assert (await server.request("GET", target))["Content-Disposition"] == disposition


async def test_the_key_name_is_taken_where_there_is_no_filename(serve: Serve) -> None:
    server = await serve()
    target = await server.create(5, b"hello", metadata=encoded("name", "n.txt"))
    assert (await server.request("GET", target))["Content-Disposition"] == 'attachment; filename="n.txt"'


@given(st.text(max_size=400))
def test_any_filename_is_one_safe_header_value(filename: str) -> None:
    """X03: RFC 6266's grammar, in ASCII, of bounded length."""
    value = content_disposition(filename, inline=False)
    assert re.fullmatch(
        r"attachment(; filename=\"[A-Za-z0-9 ._()+,=@-]+\"(; filename\*=UTF-8''[A-Za-z0-9%._~-]+)?)?", value
    )
    assert len(value) < 3 * 255 + 300
    extended = re.search(r"filename\*=UTF-8''(.+)", value)
    if extended is not None:
        assert unquote(extended[1], errors="strict") == safe_filename(filename)


@given(st.text(max_size=400))
def test_any_filename_becomes_one_segment(filename: str) -> None:
    """X02."""
    name = safe_filename(filename)
    assert not set("/\\\x00\r\n\u202e") & set(name)
    assert name not in {".", ".."}
    assert len(name.encode()) <= 255
