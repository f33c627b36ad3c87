"""How numbers and times are printed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime


def utc(epoch_s: float) -> str:
    """2026-11-24 02:56:12."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def since(epoch_s: float, now_s: float) -> str:
    """2026-11-24 02:56:12 +0000 (3 minutes ago)."""
    return f"{utc(epoch_s)} +0000 ({ago(now_s - epoch_s)})"


def ago(elapsed_s: float) -> str:
    """How long ago, in words."""
    minutes, hours = int(elapsed_s // 60), int(elapsed_s // 3600)
    if minutes < 1:
        return "just now"
    if hours < 1:
        return "a minute ago" if minutes == 1 else f"{minutes} minutes ago"
    return "an hour ago" if hours == 1 else f"{hours} hours ago"


def wrapped(items: list[str], indent: int, width: int = 80) -> str:
    """The items joined with `; `, broken where a line would be too long, later lines indented."""
    lines = [""]
    for item in items:
        if lines[-1] and indent + len(lines[-1]) + len(item) > width:
            lines.append("")
        lines[-1] += f"{item}; "
    return ("\n" + " " * indent).join(line.rstrip() for line in lines).removesuffix(";")


def table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """The rows with their columns below each other; those whose numbers are in `right` end flush."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def jobs(count: int) -> str:
    """1 job, 2,000 jobs."""
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"


def cut(text: str, width: int) -> str:
    """The text, or its beginning and a dot dot dot in one character."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
