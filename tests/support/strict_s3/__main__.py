"""The layer as a program: `--upstream http://… --bucket … --port … --control-port …`."""

from __future__ import annotations

import argparse
import asyncio
import signal

from tests.support.strict_s3.control import Control
from tests.support.strict_s3.server import StrictS3
from trial.gateways import Bucket


async def serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    upstream = Bucket(endpoint_url=options.upstream, name=options.bucket)
    async with StrictS3(upstream, port=options.port) as strict, Control(strict, options.control_port):
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="strict_s3")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control-port", type=int, required=True)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
