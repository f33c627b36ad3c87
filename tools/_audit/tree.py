"""Lua as a syntax tree, and the few questions that the audit asks of it."""

from __future__ import annotations

from collections.abc import Iterator

import tree_sitter_lua
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_lua.language()))


def parse(source: str) -> Node:
    """The whole text; what cannot be parsed has nodes of the type ERROR in it."""
    return _PARSER.parse(source.encode()).root_node


def text(node: Node | None) -> str:
    return node.text.decode() if node is not None and node.text is not None else ""


def line(node: Node) -> int:
    return node.start_point[0] + 1


def parts(node: Node | None) -> list[Node]:
    """The named children but comments."""
    return [child for child in node.named_children if child.type != "comment"] if node is not None else []


def every(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from every(child)


def literal(node: Node | None) -> str | None:
    """The contents of a text between double quotes; None for everything else."""
    if node is None or node.type != "string" or not text(node).startswith('"'):
        return None
    return text(node)[1:-1]


def redis_call(node: Node) -> str:
    """`call` or `pcall` if this node is `redis.call(…)` or `redis.pcall(…)`, else ""."""
    if node.type != "function_call":
        return ""
    name = text(node.child_by_field_name("name"))
    return name.removeprefix("redis.") if name in {"redis.call", "redis.pcall"} else ""


def arguments(node: Node) -> list[Node]:
    return parts(node.child_by_field_name("arguments"))
