"""Bars of what was found, as an SVG. Needs matplotlib: the extra `bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .rounds import Found


def plot(results: list[Path], to: Path) -> None:
    """One chart for each table of figures in the JSON files that `--json` wrote."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        sys.exit("tools/bench: plot needs matplotlib: .venv/bin/pip install 'sidekiq-lua[bench]'")
    matplotlib.use("svg")
    from matplotlib import pyplot

    charts = [chart for path in results for chart in _charts(path.stem, json.loads(path.read_text()))]
    if not charts:
        sys.exit(f"tools/bench: no figures in {', '.join(map(str, results))}")
    matplotlib.rcParams["svg.hashsalt"] = "tools/bench"
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure, axes = pyplot.subplots(len(charts), 1, figsize=(8, 1.2 + 1.9 * len(charts)), squeeze=False)
    for axis, (title, bars) in zip(axes[:, 0], charts, strict=True):
        names = [*bars][::-1]
        drawn = axis.barh(names, [bars[name] for name in names], color="#4c72b0", height=0.6)
        axis.bar_label(
            drawn, fmt="{:,.3g}" if max(bars.values()) < 1000 else "{:,.0f}", padding=3, fontsize=8
        )
        axis.set_title(title, loc="left", fontsize=10)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})


def _charts(name: str, found: Found) -> list[tuple[str, dict[str, float]]]:
    return [
        (f"{name}: {title}", value)
        for title, value in found.items()
        if isinstance(value, dict) and value and all(isinstance(one, int | float) for one in value.values())
    ]
