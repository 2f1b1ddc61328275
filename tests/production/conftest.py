from tests.production.fixtures import make_node, pair

__all__ = ["make_node", "pair"]
