"""The published trace: each script's ordinary call, as MONITOR tells it, checked and written down."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import keyspace
from script_cases import CASES, Case
from servers import Server

from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.contract import Contract, contracts
from sidekiq_lua.store.scripts import library

from . import checks
from .monitor import KeyFlags, Ran, calls, words

_END = b"end-of-case"

INTRODUCTION = (Path(__file__).parent / "trace.md").read_text("utf-8")


def record(server: Server, cases: Mapping[str, Case] | None = None) -> Iterator[tuple[str, Ran]]:
    """Run every case on this server, which is emptied each time; what each did inside."""
    cases = CASES if cases is None else cases
    transport = Transport(Endpoint(server.url))
    with server.client() as client, socket.create_connection(("127.0.0.1", server.port)) as ear:
        ear.settimeout(20)
        ear.sendall(b"MONITOR\r\n")
        lines = ear.makefile("rb")
        assert lines.readline() == b"+OK\r\n"
        for name, case in cases.items():
            client.flushall()
            keyspace.put(client, case.found)
            client.script_load(case.call.script.text)
            transport.run(case.call)
            client.echo(_END)
            scripts = {**_by_hash(), case.call.script.sha: case.call.script}
            (ran,) = calls(_until_the_end(lines), scripts)
            yield name, ran
    transport.close()


def _by_hash() -> dict[str, Any]:
    return {script.sha: script for script in library().values()}


def _until_the_end(lines: Any) -> Iterator[bytes]:
    for line in lines:
        if words(line)[1] == [b"ECHO", _END]:
            return
        yield line


def problems(server: Server, recorded: Mapping[str, Ran]) -> list[str]:
    """Where these calls did more than their headers say."""
    with server.client() as client:
        flags = KeyFlags(client)
        return [
            problem
            for name, ran in recorded.items()
            for problem in checks.problems(ran, contracts()[name], flags)
        ]


def written(server: Server, recorded: Mapping[str, Ran]) -> str:
    """The text of docs/trace.md."""
    with server.client() as client:
        flags = KeyFlags(client)
        parts = [INTRODUCTION]
        for name, ran in sorted(recorded.items()):
            contract = contracts()[name]
            lines = [_line(command, ran, contract, flags) for command in ran.inner]
            columns = [max(len(line[n]) for line in lines) for n in range(3)] if lines else [0, 0, 0]
            shown = [
                "  ".join(f"{cell:{width}}" for cell, width in zip(line, columns, strict=False))
                + f"  {line[3]}"
                for line in lines
            ]
            folded = [
                text.rstrip() + (f"  ×{n}" if n > 1 else "")
                for text, n in ((text, len(list(same))) for text, same in groupby(shown))
            ]
            parts.append(f"\n## {name}\n\n{contract.summary}\n\n```\n" + "\n".join(folded) + "\n```\n")
        return "".join(parts)


def _line(command: list[bytes], ran: Ran, contract: Contract, flags: KeyFlags) -> tuple[str, str, str, str]:
    """Command, keys, access, names."""
    keys = flags.keys(command)
    names = [checks.parameters(ran, contract, key) for key, _ in keys]
    return (
        command[0].decode(),
        " ".join(key.decode("utf-8", "backslashreplace") for key, _ in keys),
        " ".join("w" if writes else "r" for _, writes in keys),
        " ".join("/".join(dict.fromkeys(p.name for p in found)) or "?" for found in names),
    )
