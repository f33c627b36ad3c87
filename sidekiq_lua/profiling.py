"""A profile while it is recorded, and the two forms in which others read it.

It is stored as the Firefox Profiler's processed profile, gzipped JSON, which is what Sidekiq's Web UI sends
to profiler.firefox.com; from that it can be written anew for speedscope.
"""

from __future__ import annotations

import gzip
import json
from itertools import zip_longest
from statistics import median
from typing import Any

SAMPLES = 50_000
STACKS = 50_000
"""The most that a recording holds: then it makes its samples twice as long, and its new stacks shorter."""
FORMAT_VERSION = 48
"""Of Firefox's processed profiles; newer ones read it, as each reads all older."""
_GECKO_VERSION = 28
_ROOT = -1
_PYTHON, _NATIVE = 0, 1
_CATEGORIES = [
    {"name": "Python", "color": "blue", "subcategories": ["Other"]},
    {"name": "Native", "color": "grey", "subcategories": ["Other"]},
]


class Recording:
    """Samples as a tree of stacks, in memory that is bounded however long the job runs.

    A frame is what pyinstrument names it: `function NUL file NUL line`, after that \\x01 and attributes.
    `skip` is how many of the outermost frames belong to the worker.
    """

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self.frames: dict[str, int] = {}
        self.stacks: dict[tuple[int, int], int] = {}
        """(the stack it continues, its frame) to its number."""
        self.samples: list[int] = []
        self.seconds: list[float] = []
        self._short = 0.0

    def add(self, frames: list[str], elapsed_s: float) -> None:
        """One sample, the outermost frame first, that stands for so many seconds."""
        stack = _ROOT
        for frame in frames[self._skip :]:
            number = self.frames.setdefault(frame, len(self.frames))
            known = self.stacks.get((stack, number))
            if known is None:
                if len(self.stacks) >= STACKS:
                    break
                known = self.stacks[stack, number] = len(self.stacks)
            stack = known
        if stack == _ROOT:
            return
        if self.samples and (
            self.samples[-1] == stack or (self.seconds[-1] < self._short and elapsed_s < self._short)
        ):
            self.seconds[-1] += elapsed_s
            return
        self.samples.append(stack)
        self.seconds.append(elapsed_s)
        if len(self.samples) > SAMPLES:
            # From now on samples are joined as they come, up to twice the time of a usual one.
            self._short = 2 * max(median(self.seconds), self._short)
            self.thin()

    def thin(self) -> None:
        """Join each two samples: the longer one stands for the time of both."""
        pairs = list(zip(self.samples, self.seconds, strict=True))
        twos = list(zip_longest(pairs[::2], pairs[1::2], fillvalue=(_ROOT, 0.0)))
        self.samples = [a[0] if a[1] >= b[1] else b[0] for a, b in twos]
        self.seconds = [a[1] + b[1] for a, b in twos]


def packed(recording: Recording, limit: int, **facts: Any) -> bytes | None:
    """The recording as Firefox reads it, gzipped, thinned out to at most `limit` bytes; None if it cannot be.

    `facts`: see `firefox`.
    """
    while True:
        data = gzip.compress(json.dumps(firefox(recording, **facts), separators=(",", ":")).encode(), 6)
        if len(data) <= limit:
            return data
        if len(recording.samples) < 100:
            return None
        recording.thin()


def firefox(
    recording: Recording, *, name: str, pid: int, started_at: float, elapsed_s: float, interval_s: float
) -> dict[str, Any]:
    """A processed profile of one thread, the job; `started_at` is epoch seconds."""
    texts: dict[str, int] = {}

    def text(value: str) -> int:
        return texts.setdefault(value, len(texts))

    frames = [_parsed(frame) for frame in recording.frames]
    functions: dict[tuple[str, str, int], int] = {}
    for function, _ in frames:
        functions.setdefault(function, len(functions))
    categories = [_NATIVE if file.startswith("<") else _PYTHON for (_, file, _), _ in frames]
    n_frames, n_functions, n_stacks = len(frames), len(functions), len(recording.stacks)
    times, at = [], 0.0
    for seconds in recording.seconds:
        times.append(round(at * 1000, 3))
        at += seconds
    thread = {
        "processType": "default", "processStartupTime": 0, "processShutdownTime": None, "registerTime": 0,
        "unregisterTime": None, "pausedRanges": [], "name": name, "isMainThread": True, "pid": str(pid),
        "tid": 1,
        "samples": {
            "stack": recording.samples, "time": times, "weightType": "tracing-ms",
            "weight": [round(seconds * 1000, 3) for seconds in recording.seconds],
            "length": len(times),
        },
        "markers": {
            **{column: [] for column in ("data", "name", "startTime", "endTime", "phase", "category")},
            "length": 0,
        },
        "stackTable": {
            "frame": [frame for _, frame in recording.stacks],
            "prefix": [None if prefix == _ROOT else prefix for prefix, _ in recording.stacks],
            "category": [categories[frame] for _, frame in recording.stacks],
            "subcategory": [0] * n_stacks, "length": n_stacks,
        },
        "frameTable": {
            "address": [-1] * n_frames, "inlineDepth": [0] * n_frames, "category": categories,
            "subcategory": [0] * n_frames, "func": [functions[function] for function, _ in frames],
            "nativeSymbol": [None] * n_frames, "innerWindowID": [0] * n_frames,
            "implementation": [None] * n_frames, "line": [line for _, line in frames],
            "column": [None] * n_frames, "length": n_frames,
        },
        "funcTable": {
            "isJS": [False] * n_functions, "relevantForJS": [False] * n_functions,
            "name": [text(function) for function, _, _ in functions], "resource": [-1] * n_functions,
            "fileName": [text(file) for _, file, _ in functions],
            "lineNumber": [line or None for _, _, line in functions],
            "columnNumber": [None] * n_functions, "length": n_functions,
        },
        "resourceTable": {"lib": [], "name": [], "host": [], "type": [], "length": 0},
        "nativeSymbols": {"libIndex": [], "address": [], "name": [], "functionSize": [], "length": 0},
        "stringArray": list(texts),
    }  # fmt: skip
    meta = {
        "interval": interval_s * 1000, "startTime": started_at * 1000, "processType": 0, "product": "Python",
        "stackwalk": 0, "debug": False, "gcpoison": 0, "asyncstack": 1, "platform": "", "oscpu": "",
        "misc": "", "appBuildID": "", "abi": "", "toolkit": "", "sourceURL": "",
        "version": _GECKO_VERSION, "preprocessedProfileVersion": FORMAT_VERSION, "symbolicated": True,
        "categories": _CATEGORIES, "markerSchema": [], "importedFrom": "sidekiq-lua",
        "profilingStartTime": 0, "profilingEndTime": round(elapsed_s * 1000, 3),
    }  # fmt: skip
    return {"meta": meta, "libs": [], "pages": [], "counters": [], "threads": [thread]}


def _parsed(frame: str) -> tuple[tuple[str, str, int], int | None]:
    """(function, file, its first line), and the line that ran."""
    identifier, *attributes = frame.split("\x01")
    name, file, line = (*identifier.split("\0"), "", "0")[:3]
    at = None
    for attribute in attributes:
        if attribute.startswith("c"):
            name = f"{attribute[1:]}.{name}"
        elif attribute.startswith("l") and attribute[1:].isdigit():
            at = int(attribute[1:])
    return (name, file, int(line) if line.isdigit() else 0), at


def speedscope(profile: dict[str, Any], name: str) -> dict[str, Any]:
    """A stored profile as https://www.speedscope.app reads it. Raises KeyError where it is none of ours."""
    (thread,) = profile["threads"]
    texts, functions, stacks = thread["stringArray"], thread["funcTable"], thread["stackTable"]
    function_of = thread["frameTable"]["func"]
    frames = [
        {"name": texts[function], "file": texts[file], **({"line": line} if line else {})}
        for function, file, line in zip(
            functions["name"], functions["fileName"], functions["lineNumber"], strict=True
        )
    ]
    paths: list[list[int]] = []
    for frame, prefix in zip(stacks["frame"], stacks["prefix"], strict=True):
        paths.append([*(paths[prefix] if prefix is not None else ()), function_of[frame]])
    weights = thread["samples"]["weight"]
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": name,
        "exporter": "sidekiq-lua",
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": [
            {
                "type": "sampled", "name": thread["name"], "unit": "milliseconds", "startValue": 0,
                "endValue": sum(weights), "samples": [paths[stack] for stack in thread["samples"]["stack"]],
                "weights": weights,
            }
        ],
    }  # fmt: skip
