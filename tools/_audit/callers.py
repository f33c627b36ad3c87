"""Which function of the package calls which script, read from the package's own source."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path


def callers(package: Path, scripts: Collection[str]) -> Mapping[str, list[str]]:
    """`module.py Class.method` for each script, in the order of the modules."""
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        source = path.read_text("utf-8")
        if "library()" not in source:
            continue
        module = path.relative_to(package).as_posix()
        for name, function in _uses(ast.parse(source), scripts):
            place = f"{module} `{function}`" if function else module
            if place not in found.setdefault(name, []):
                found[name].append(place)
    return found


def _uses(tree: ast.Module, scripts: Collection[str]) -> Iterator[tuple[str, str]]:
    tables = [top for top in tree.body if isinstance(top, ast.Assign | ast.AnnAssign)]
    for top in tree.body:
        if isinstance(top, ast.ClassDef):
            yield from _of_class(top, scripts)
        else:
            function = top.name if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef) else ""
            yield from ((name, function) for name in _named(top, scripts, tables))


def _of_class(top: ast.ClassDef, scripts: Collection[str]) -> Iterator[tuple[str, str]]:
    """A class keeps calls in attributes when it is made, and its methods use them."""
    methods = [node for node in top.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    kept: dict[str, str] = {}
    for method in methods:
        for node in ast.walk(method):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                for name in _named(node.value, scripts):
                    kept[node.targets[0].attr] = name
    for method in methods:
        used = [
            kept[node.attr]
            for node in ast.walk(method)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in kept
        ]
        named = [name for name in _named(method, scripts) if name not in kept.values()]
        yield from ((name, f"{top.name}.{method.name}") for name in (*used, *named))


def _named(tree: ast.AST, scripts: Collection[str], tables: Sequence[ast.AST] = ()) -> Iterator[str]:
    """Scripts whose names stand here: `library()["name"]`.

    Beside `library()[variable]` also the keys of a dict here, and the values of one of the module's `tables`.
    """
    subscripts = [
        node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and _is_library(node.value)
    ]
    words: list[ast.expr | None] = [node.slice for node in subscripts]
    if any(not isinstance(word, ast.Constant) for word in words):
        words += [key for dictionary in _dicts(tree) for key in dictionary.keys]
        words += [value for table in tables for dictionary in _dicts(table) for value in dictionary.values]
    for word in words:
        if isinstance(word, ast.Constant) and word.value in scripts:
            yield str(word.value)


def _dicts(tree: ast.AST) -> Iterator[ast.Dict]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Dict))


def _is_library(node: ast.expr) -> bool:
    """`library()`, or the local name `scripts` that stands for it."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "library"
    return isinstance(node, ast.Name) and node.id == "scripts"
