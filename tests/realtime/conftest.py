"""Servers of their own, and two that share a database."""

from tests.production.fixtures import make_node, pair
from tests.support.fixtures import make_server

__all__ = ["make_node", "make_server", "pair"]
