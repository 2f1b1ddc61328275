from collections.abc import Iterator

import pytest

from tests.support.fixtures import make_server
from tests.support.process import ServerProcess

__all__ = ["make_server", "server"]


@pytest.fixture(scope="module", params=["own", "stock"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One running server for all tests of a module that leave it running, with each of the HTTP classes."""
    server = ServerProcess(tmp_path_factory.mktemp("server"), settings={"http": request.param})
    try:
        yield server.start()
    finally:
        server.close()
        print(f"--- {server.log_path}\n{server.log_tail()}")
