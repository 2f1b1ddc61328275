"""The servers that keep their bytes in S3, and all servers together."""

from __future__ import annotations

import sys
from typing import Final

from bench import servers, tusd
from bench.servers import (
    NODE,
    TUS_NODE,
    check_settings,
    node_program,
    package_version,
)
from bench.site import BUCKET, CREDENTIALS, REGION, Missing, Server, Site
from bench.tusd import TUSD
from tuspy_server.version import VERSION

OURS_S3: Final = "ours+pg+s3"
TUS_NODE_S3: Final = f"{TUS_NODE} s3"
TUSD_S3: Final = f"{TUSD} s3"
TUSD_S3_TUNED: Final = f"{TUSD} s3 tuned"
TUNED: Final = ("-s3-disable-content-hashes", "-s3-part-size", str(8 << 20))


def find(tusd_asked: str | None) -> tuple[list[Server], list[str]]:
    """All servers that run here, ours first, and why the others do not.

    Args:
        tusd_asked: path of the program, `auto` to have go make it, None to leave it out.
    """
    makers = [
        *servers.makers(tusd_asked),
        _ours,
        lambda: _tusd(tusd_asked, TUSD_S3, "as installed", ()),
        lambda: _tusd(tusd_asked, TUSD_S3_TUNED, "no content hashes, parts of 8 MiB", TUNED),
        _tus_node,
    ]
    found, missing = [], []
    for make in makers:
        try:
            found.append(make())
        except Missing as error:
            missing.append(str(error))
    return found, missing


def _flags(site: Site) -> dict[str, str]:
    return {
        "database_url": site.database_url,
        "s3_bucket": BUCKET,
        "s3_endpoint_url": site.s3_url,
        "s3_region": REGION,
        "s3_addressing": "path",
    }


def _ours() -> Server:
    check_settings(OURS_S3, _flags(Site(0, servers.HERE)))
    return Server(
        name=OURS_S3,
        version=VERSION,
        note="PostgreSQL 18 with fsync, commits durable before an offset is told; request log on",
        command=lambda site: (
            *(sys.executable, "-m", "tuspy_server", "--port", str(site.port)),
            *(word for name, value in _flags(site).items() for word in (f"--{name.replace('_', '-')}", value)),
        ),
        store="s3",
        ours=True,
        postgres=True,
        environment=CREDENTIALS,
    )


def _tusd(asked: str | None, name: str, note: str, flags: tuple[str, ...]) -> Server:
    program = tusd.program(asked, name)
    return Server(
        name=name,
        version=tusd.version(program),
        note=f"S3 store, {note}, logs off",
        command=lambda site: (
            *(program, "-host", "127.0.0.1", "-port", str(site.port), "-s3-bucket", BUCKET),
            *("-s3-endpoint", site.s3_url, "-verbose=false", "-show-startup-logs=false"),
            *flags,
        ),
        store="s3",
        stored_key=lambda upload_id: upload_id.partition("+")[0],
        environment=CREDENTIALS,
    )


def _tus_node() -> Server:
    node = node_program(TUS_NODE_S3)
    return Server(
        name=TUS_NODE_S3,
        version=f"{package_version(TUS_NODE)}, @tus/s3-store {package_version('@tus/s3-store')}",
        note="@tus/s3-store as documented",
        command=lambda site: (node, str(NODE / "server_s3.mjs"), str(site.port), site.s3_url),
        store="s3",
        stored_key=lambda upload_id: upload_id,
        environment={**CREDENTIALS, "NODE_NO_WARNINGS": "1"},
    )
