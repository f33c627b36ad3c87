"""Makes what is printed the same in each run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

NOON_S = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp())
"""The moment at which the scene is set, in the pages."""
STEP_S = 100
"""The scene's times are so many seconds apart, and the commands take less than that."""

_TIME = re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b")
_EPOCH = re.compile(r"\b1[7-9]\d{8}(?:\d{3})?(?:\.\d+)?\b")
_WAIT = re.compile(r"\b\d[\d,]*\.\d\d(?=(  paused)?$)", re.M)
_LATENCY = re.compile(r'(?<="latency": )\d+\.\d+')
_FIGURES = re.compile(r'(?<="(rss_kb|rtt_us)": )\d+')


class Alike:
    """Replaces texts, moves times to what they are if the scene is set at noon, and rounds waits down."""

    def __init__(self, began_s: float, texts: Mapping[str, str]) -> None:
        self._began_s = began_s
        self._texts = texts

    def __call__(self, text: str) -> str:
        for old, new in self._texts.items():
            text = text.replace(old, new)
        text = _TIME.sub(self._time, text)
        text = _EPOCH.sub(self._epoch, text)
        text = _WAIT.sub(lambda found: f"{self._round(float(found[0].replace(',', ''))):,.2f}", text)
        text = _LATENCY.sub(lambda found: f"{self._round(float(found[0])):.1f}", text)
        return _FIGURES.sub(lambda found: {"rss_kb": "48128", "rtt_us": "180"}[found[1]], text)

    @staticmethod
    def _round(seconds: float) -> int:
        # The scene's own times were cut to a second or a millisecond.
        return int((seconds + 1) // STEP_S * STEP_S)

    def _moved(self, epoch_s: float) -> int:
        return NOON_S + self._round(epoch_s - self._began_s)

    def _time(self, found: re.Match[str]) -> str:
        at = datetime.strptime(found[0], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return datetime.fromtimestamp(self._moved(at.timestamp()), UTC).strftime("%Y-%m-%d %H:%M:%S")

    def _epoch(self, found: re.Match[str]) -> str:
        whole, _, part = found[0].partition(".")
        if len(whole) == 13:
            return str(self._moved(int(whole) / 1000) * 1000)
        return f"{self._moved(float(found[0]))}{'.0' if part else ''}"
