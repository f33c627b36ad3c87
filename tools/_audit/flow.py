"""Follows keys through a script: which command touches which key, in what order, and what may fail late.

It walks the tree as Lua would run it, both branches of an `if` and two rounds of a loop, into local
functions too. A value is either a set of keys from KEYS or something else; a key that was built, read from
Redis or taken out of a table is something else, and no command may have it as its key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tree_sitter import Node

from sidekiq_lua.store.contract import Contract

from . import commands
from .tree import arguments, every, line, literal, parts, redis_call, text


class Ref(NamedTuple):
    """A key: the parameter of the header, and the expression, which tells two of an open-ended one apart."""

    parameter: str
    place: str


WHOLE = Ref("KEYS", "")
"""The table KEYS itself."""

Value = frozenset[Ref]
OTHER: Value = frozenset()


class Touch(NamedTuple):
    """One command on one key. `raises`: by redis.call, so that an error ends the script."""

    line: int
    command: str
    parameter: str
    kind: str
    writes: bool
    raises: bool


class Complaint(NamedTuple):
    line: int
    rule: str
    message: str
    key: str = ""


@dataclass
class State:
    """What is certain at one point of a path."""

    wrote: str = ""
    """The first write on the way here, or "": nothing is written yet."""
    sure: set[tuple[str, str]] = field(default_factory=set)
    """Places, and parameters as a whole, with the type that they were found to have."""

    def copy(self) -> State:
        return State(self.wrote, set(self.sure))


def merge(*states: State | None) -> State | None:
    alive = [state for state in states if state is not None]
    if not alive:
        return None
    return State(next((s.wrote for s in alive if s.wrote), ""), set.intersection(*(s.sure for s in alive)))


def _leaves(loop: Node) -> bool:
    return any(node.type in {"break_statement", "return_statement"} for node in every(loop))


class Flow:
    """The walk through one script, whose text has its includes in place."""

    def __init__(self, contract: Contract, tree: Node) -> None:
        self.contract = contract
        self.touches: list[Touch] = []
        self.complaints: list[Complaint] = []
        self._functions: dict[str, Node] = {}
        self._scopes: list[dict[str, Value]] = [{"KEYS": frozenset({WHOLE})}]
        self._calling: list[str] = []
        self._returned: list[State] = []
        self._block(parts(tree), State())
        self.touches = list(dict.fromkeys(self.touches))
        self.complaints = list(dict.fromkeys(self.complaints))

    # -- statements ---------------------------------------------------------------------

    def _block(self, statements: list[Node], state: State | None) -> State | None:
        self._scopes.append({})
        for statement in statements:
            if state is None:
                break
            state = self._statement(statement, state)
        self._scopes.pop()
        return state

    def _body(self, node: Node | None, state: State) -> State | None:
        return self._block(parts(node), state)

    def _statement(self, node: Node, state: State) -> State | None:
        match node.type:
            case "variable_declaration":
                inner = parts(node)
                if inner[0].type == "assignment_statement":
                    self._assign(inner[0], state, local=True)
                else:
                    for name in parts(inner[0]) or inner:
                        self._scopes[-1][text(name)] = OTHER
            case "assignment_statement":
                self._assign(node, state, local=False)
            case "function_declaration":
                self._functions[text(node.child_by_field_name("name"))] = node
            case "if_statement":
                return self._if(node, state)
            case "for_statement" | "while_statement" | "repeat_statement":
                return self._loop(node, state)
            case "do_statement":
                return self._body(node.child_by_field_name("body"), state)
            case "return_statement":
                for values in parts(node):
                    for value in parts(values) if values.type == "expression_list" else [values]:
                        self._value(value, state)
                self._returned.append(state)
                return None
            case "hash_bang_line" | "comment" | "break_statement":
                pass
            case _:
                self._value(node, state)
        return state

    def _assign(self, node: Node, state: State, *, local: bool) -> None:
        targets, values = parts(node)
        found = [self._value(value, state) for value in parts(values)]
        found += [OTHER] * (len(parts(targets)) - len(found))
        for target, value in zip(parts(targets), found, strict=False):
            if target.type == "identifier":
                name = text(target)
                scope = self._scopes[-1] if local else self._scope_of(name)
                scope[name] = value
            else:
                table = target.child_by_field_name("table")
                if table is not None and (WHOLE in self._value(table, state) or text(table) == "ARGV"):
                    self._complain(
                        target, "keys", f"{text(target)} is assigned: KEYS and ARGV stay as they came"
                    )

    def _scope_of(self, name: str) -> dict[str, Value]:
        return next((scope for scope in reversed(self._scopes) if name in scope), self._scopes[0])

    def _if(self, node: Node, state: State) -> State | None:
        self._value(node.child_by_field_name("condition"), state)
        ends = [self._body(node.child_by_field_name("consequence"), state.copy())]
        otherwise = False
        for branch in node.children_by_field_name("alternative"):
            if branch.type == "elseif_statement":
                self._value(branch.child_by_field_name("condition"), state)
                ends.append(self._body(branch.child_by_field_name("consequence"), state.copy()))
            else:
                otherwise = True
                ends.append(self._body(branch.child_by_field_name("body"), state.copy()))
        return merge(*ends, None if otherwise else state)

    def _loop(self, node: Node, state: State) -> State | None:
        """Two rounds: what one writes may make the next fail late; a list that was looked through is sure."""
        start = state.copy()
        clause = node.child_by_field_name("clause")
        names = []
        for part in parts(clause):
            for child in parts(part) if part.type in {"variable_list", "expression_list"} else [part]:
                if part.type == "variable_list" or child == (clause and clause.child_by_field_name("name")):
                    names.append(text(child))
                else:
                    self._value(child, state)
        self._scopes.append(dict.fromkeys(names, OTHER))
        condition = node.child_by_field_name("condition")
        body = node.child_by_field_name("body")
        looked: set[tuple[str, str]] = set()
        after = state
        for _ in range(2):
            if node.type == "while_statement":
                self._value(condition, after)
            ended = self._body(body, after.copy())
            if ended is None:
                break
            if node.type == "repeat_statement":
                self._value(condition, ended)
            if not ended.wrote and node.type == "for_statement" and not _leaves(node):
                looked |= {(place.partition("[")[0], kind) for place, kind in ended.sure if "[" in place}
            # In the next round the same expression is another key of an open-ended parameter.
            ended.sure = {s for s in ended.sure if "[" not in s[0]} | {s for s in after.sure if "[" in s[0]}
            after = ended
        self._scopes.pop()
        end = merge(start, after)
        assert end is not None
        # Without a round there is no such key, so all of them are sure.
        end.sure |= looked
        return end

    # -- values -------------------------------------------------------------------------

    def _value(self, node: Node | None, state: State) -> Value:
        if node is None:
            return OTHER
        match node.type:
            case "identifier":
                return self._scope_of(text(node)).get(text(node), OTHER)
            case "bracket_index_expression":
                return self._index(node, state)
            case "function_call":
                return self._call(node, state)
            case "binary_expression":
                sides = [self._value(part, state) for part in parts(node)]
                operator = node.children[1].type
                return sides[0] | sides[1] if operator in {"and", "or"} else OTHER
            case "parenthesized_expression":
                return self._value(parts(node)[0], state)
            case "function_definition":
                self._complain(
                    node, "form", "a function without a name cannot be followed: make it a local function"
                )
                return OTHER
            case _:
                for part in parts(node):
                    self._value(part, state)
                return OTHER

    def _index(self, node: Node, state: State) -> Value:
        table = node.child_by_field_name("table")
        index = node.child_by_field_name("field")
        self._value(index, state)
        if WHOLE not in self._value(table, state):
            return OTHER
        if index is not None and index.type == "number":
            found = self.contract.key(int(text(index)))
        else:
            found = self.contract.keys[-1] if self.contract.keys else None
            found = found if found and found.open_ended else None
        if not found:
            self._complain(node, "keys", f"{text(node)} is a key that the header does not declare")
            return OTHER
        place = f"{found.name}[{text(index)}]" if found.open_ended else found.name
        return frozenset({Ref(found.name, place)})

    def _call(self, node: Node, state: State) -> Value:
        name = text(node.child_by_field_name("name"))
        given = arguments(node)
        if how := redis_call(node):
            self._command(node, how, given, state)
            return OTHER
        values = [self._value(argument, state) for argument in given]
        if name == "unpack" and values and WHOLE in values[0]:
            last = self.contract.keys[-1] if self.contract.keys else None
            return frozenset({Ref(last.name, f"{last.name}[all]")}) if last and last.open_ended else OTHER
        if name in {"error", "assert", "redis.error_reply"} and state.wrote:
            self._complain(node, "late", f"{name} after {state.wrote}: Redis does not roll back")
        function = self._functions.get(name)
        if function is not None and name not in self._calling:
            self._enter(name, function, values, state)
        return OTHER

    def _enter(self, name: str, function: Node, values: list[Value], state: State) -> None:
        parameters = [text(p) for p in parts(function.child_by_field_name("parameters"))]
        outer, self._returned = self._returned, []
        scopes, self._scopes = (
            self._scopes,
            [
                self._scopes[0],
                dict(zip(parameters, [*values, *[OTHER] * len(parameters)], strict=False)),
            ],
        )
        self._calling.append(name)
        end = merge(self._body(function.child_by_field_name("body"), state.copy()), *self._returned)
        self._calling.pop()
        self._scopes, self._returned = scopes, outer
        if end is not None:
            state.wrote, state.sure = end.wrote, end.sure

    # -- commands -----------------------------------------------------------------------

    def _command(self, node: Node, how: str, given: list[Node], state: State) -> None:
        command = literal(given[0]) if given else None
        if command is None:
            self._complain(node, "form", f"redis.{how} needs its command as a text in double quotes")
            return
        values = [self._value(argument, state) for argument in given[1:]]
        kind = commands.kind(command)
        for position in commands.keys(command, values):
            value = values[position] if position < len(values) else OTHER
            if not value or WHOLE in value:
                what = text(given[position + 1]) if position + 1 < len(given) else "nothing"
                self._complain(node, "keys", f"the key of {command} is {what}, which does not come from KEYS")
                continue
            for ref in sorted(value):
                self._touch(
                    node, command, kind, ref, how == "call", commands.writes(command, position), state
                )
        if any(commands.writes(command, n) for n in commands.keys(command, values)) and not state.wrote:
            state.wrote = f"{command} in line {line(node)}"

    def _touch(
        self, node: Node, command: str, kind: str, ref: Ref, raises: bool, writes: bool, state: State
    ) -> None:
        self.touches.append(Touch(line(node), command, ref.parameter, kind, writes, raises))
        certain = {(place, k) for place in (ref.place, ref.parameter) for k in (kind, commands.ANY)}
        if not raises:
            return
        if kind != commands.ANY and state.wrote and not certain & state.sure:
            self._complain(
                node,
                "late",
                f"{command} may fail on {ref.parameter} after {state.wrote}: look at the key before the "
                "first write, or use redis.pcall",
                ref.parameter,
            )
        if kind != commands.ANY or command in {"DEL", "UNLINK"}:
            state.sure.add((ref.place, kind))

    def _complain(self, node: Node, rule: str, message: str, key: str = "") -> None:
        self.complaints.append(Complaint(line(node), rule, message, key))
