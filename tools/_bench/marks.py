"""What a job leaves behind: 16 bytes in a file (its number, CLOCK_MONOTONIC in ns), in one O_APPEND write.

It takes no Redis command and no lock, is the same in every language and process model, and survives a
kill. It costs a microsecond or two a job, which every engine pays.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

_RECORD = struct.Struct("<qq")
NAMES = ("begin", "end", "sent")


class Pen:
    """Writes marks into the directory that BENCH_MARKS names."""

    def __init__(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._files = {name: os.open(Path(os.environ["BENCH_MARKS"]) / name, flags, 0o644) for name in NAMES}

    def mark(self, name: str, number: int, at_ns: int | None = None) -> None:
        os.write(self._files[name], _RECORD.pack(number, time.monotonic_ns() if at_ns is None else at_ns))

    def count(self, name: str) -> int:
        return os.fstat(self._files[name]).st_size // _RECORD.size


class Marks:
    """Reads them."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self.clear()

    def clear(self) -> None:
        for name in NAMES:
            (self._dir / name).write_bytes(b"")

    def count(self, name: str = "begin") -> int:
        return (self._dir / name).stat().st_size // 16

    def read(self, name: str = "begin") -> list[tuple[int, float]]:
        """Numbers and seconds."""
        data = (self._dir / name).read_bytes()
        return [(number, at / 1e9) for number, at in _RECORD.iter_unpack(data[: len(data) // 16 * 16])]

    def span_s(self, last: str = "begin") -> float:
        """Seconds from the first beginning to the last mark."""
        return max(at for _, at in self.read(last)) - min(at for _, at in self.read())
