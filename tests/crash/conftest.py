from tests.support.fixtures import make_server, server

__all__ = ["make_server", "server"]
