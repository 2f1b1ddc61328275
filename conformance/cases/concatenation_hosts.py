"""Extension concatenation: what only other parts of a system see."""

import asyncio

from conformance.case import Skip, case
from conformance.cases.concatenation import final, partial, path_of, refused
from conformance.client import Tus
from conformance.expect import expect


@case("CONC-18")
async def foreign_hosts_are_not_asked(tus: Tus) -> None:
    visitors: list[str] = []

    def visited(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(str(writer.get_extra_info("peername")))
        writer.close()

    # A server elsewhere cannot reach this port; then only its status is judged.
    trap = await asyncio.start_server(visited, "127.0.0.1", 0)
    async with trap:
        foreign = f"http://127.0.0.1:{trap.sockets[0].getsockname()[1]}"
        own = path_of(await partial(tus, b"hello"))
        unknown = await final(tus, [f"{foreign}/files/0123456789abcdef0123456789abcdef"])
        same_path = await final(tus, [foreign + own])
    expect(not visitors, "no request to the foreign host", unknown)
    refused(unknown)
    # Behind a proxy a server cannot know all names of its own, so a known path on another host is left to it.
    if same_path.status == 201:
        tus.note("a URL on a foreign host counts by its path alone")


@case("CONC-19")
async def partials_finish_silently(_tus: Tus) -> None:
    raise Skip("no HTTP client can see the server's hooks")
