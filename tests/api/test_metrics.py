"""MetricsQuery and Deploy, on a real server."""

from __future__ import annotations

import datetime
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

import sidekiq_lua
from sidekiq_lua import Deploy, MetricsQuery, Sidekiq
from sidekiq_lua.api.metrics import LABELS, Mark
from sidekiq_lua.errors import ConfigurationError
from sidekiq_lua.tally import BUCKETS, Count

NOW_S = 1_795_489_385.5  # 2026-11-24T03:03:05.5Z
AT = "2026-11-24T03:03:00Z"


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    app = Sidekiq(redis=url)
    yield app
    app.close()


def ran(app: Sidekiq, at: float, *counts: Count) -> None:
    token = f"t{at}"
    app.transport().run(app.store.metrics.flush(token, 1, at, counts))


@pytest.fixture
def written(app: Sidekiq) -> Sidekiq:
    """Echo ran in three minutes of an hour, and once the day before; Charge once."""
    ran(app, NOW_S, Count("Echo", 4, 1, 300, {0: 1, 6: 2}), Count("Charge", 1, 1, 0, {}))
    ran(app, NOW_S - 60, Count("Echo", 2, 0, 50, {1: 2}))
    ran(app, NOW_S - 3540, Count("Echo", 1, 0, 7, {0: 1}))
    ran(app, NOW_S - 3600, Count("Echo", 1, 0, 1, {0: 1}))
    ran(app, NOW_S - 86_400, Count("Old::Job", 1, 0, 9, {0: 1}))
    return app


def test_top_jobs_of_the_last_hour(written: Sidekiq) -> None:
    result = MetricsQuery(written, NOW_S).top_jobs()

    assert (result.granularity, result.starts_at, result.ends_at) == ("minutely", NOW_S - 3600, NOW_S)
    assert set(result.job_results) == {"Echo", "Charge"}
    echo = result.job_results["Echo"]
    assert echo.totals == {"p": 7, "f": 1, "ms": 357, "s": pytest.approx(0.357)}
    assert echo.series["p"] == {AT: 4, "2026-11-24T03:02:00Z": 2, "2026-11-24T02:04:00Z": 1}
    assert echo.total_avg() == pytest.approx(357 / 6)
    assert echo.series_avg() == {AT: 100, "2026-11-24T03:02:00Z": 25, "2026-11-24T02:04:00Z": 7}
    charge = result.job_results["Charge"]
    assert charge.totals == {"p": 1, "f": 1}
    assert (charge.total_avg(), charge.total_avg("s")) == (0, 0)


def test_hours_come_by_ten_minutes(written: Sidekiq) -> None:
    result = MetricsQuery(written, NOW_S).top_jobs(hours=25)

    assert result.granularity == "hourly"
    assert result.job_results["Echo"].series["p"] == {
        "2026-11-24T03:00:00Z": 6, "2026-11-24T02:00:00Z": 2,
    }  # fmt: skip
    assert result.job_results["Old::Job"].totals["p"] == 1
    assert "Old::Job" not in MetricsQuery(written, NOW_S).top_jobs(hours=23).job_results


@pytest.mark.parametrize("wanted", ["cha", "CHARGE", re.compile("^Char")])
def test_a_filter(written: Sidekiq, wanted: Any) -> None:
    assert set(MetricsQuery(written, NOW_S).top_jobs(wanted).job_results) == {"Charge"}


def test_one_job_with_histograms(written: Sidekiq) -> None:
    result = MetricsQuery(written, NOW_S).for_job("Echo", minutes=2)

    echo = result.job_results["Echo"]
    assert echo.totals == {"p": 6, "f": 1, "ms": 350, "s": pytest.approx(0.35)}
    assert echo.hist == {
        AT: [1, 0, 0, 0, 0, 0, 2, *[0] * 19],
        "2026-11-24T03:02:00Z": [0, 2, *[0] * 24],
    }
    assert len(LABELS) == BUCKETS


def test_one_job_over_hours_has_no_histogram(written: Sidekiq) -> None:
    echo = MetricsQuery(written, NOW_S).for_job("Echo", hours=2).job_results["Echo"]

    assert (echo.totals["p"], echo.hist) == (8, {})


def test_a_job_that_never_ran(app: Sidekiq) -> None:
    never = MetricsQuery(app, NOW_S).for_job("Never", minutes=480).job_results["Never"]

    assert (never.totals, never.series) == ({}, {})
    assert len(never.hist) == 480


def test_many_classes_take_several_calls(app: Sidekiq) -> None:
    for part in range(8):
        ran(app, NOW_S - part * 60, *(Count(f"C{n}", 1, 0, 1, {0: 1}) for n in range(100)))
        ran(app, NOW_S - part * 60 + 0.1, *(Count(f"D{n}", 1, 0, 1, {0: 1}) for n in range(100)))
        ran(app, NOW_S - part * 60 + 0.2, *(Count(f"E{n}", 1, 1, 0, {}) for n in range(100)))

    result = MetricsQuery(app, NOW_S).top_jobs()

    assert len(result.job_results) == 300
    assert {job.totals["p"] for job in result.job_results.values()} == {8}


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"minutes": 0}, "minutes is 0: give a whole number from 1 to 480"),
        ({"minutes": 481}, "1 to 480"),
        ({"minutes": 1.5}, "1 to 480"),
        ({"minutes": True}, "1 to 480"),
        ({"hours": 73}, "hours is 73: give a whole number from 1 to 72"),
        ({"minutes": 5, "hours": 1}, "not by both"),
    ],
)
def test_spans_that_are_refused(app: Sidekiq, more: dict[str, Any], complaint: str) -> None:
    for query in (MetricsQuery(app).top_jobs, lambda **m: MetricsQuery(app).for_job("Echo", **m)):
        with pytest.raises(ConfigurationError, match=complaint):
            query(**more)


# -- deploys ----------------------------------------------------------------------------------


def test_a_mark_is_part_of_what_a_query_finds(app: Sidekiq, redis: Any) -> None:
    deploy = Deploy(app)
    assert deploy.mark("v2 größer", at=NOW_S)
    assert deploy.mark("v1", at=datetime.datetime.fromtimestamp(NOW_S - 3500, datetime.UTC))
    assert deploy.mark("older", at=NOW_S - 86_400)
    redis.hset("20261124-marks", "no time", "foreign")

    marks = MetricsQuery(app, NOW_S).top_jobs().marks
    assert marks == [
        Mark("2026-11-24T02:04:00Z", "v1", "2026-11-24T02:04:00Z"),
        Mark(AT, "v2 größer", AT),
    ]
    hourly = MetricsQuery(app, NOW_S).for_job("Echo", hours=25).marks
    assert [(mark.label, mark.bucket) for mark in hourly] == [
        ("older", "2026-11-23T03:00:00Z"),
        ("v1", "2026-11-24T02:00:00Z"),
        ("v2 größer", "2026-11-24T03:00:00Z"),
    ]
    assert deploy.fetch(datetime.date(2026, 11, 23)) == {"2026-11-23T03:03:00Z": "older"}


def test_many_processes_mark_one_deploy(app: Sidekiq) -> None:
    with freeze_time("2026-11-24 03:03:59"):
        assert [Deploy(app).mark("v2") for _ in range(3)] == [True, False, False]
        assert not Deploy(app).mark("another in this minute")
        assert Deploy(app).fetch() == {AT: "v2"}


def test_the_default_instance_s_deploys(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Sidekiq(redis=url)
    monkeypatch.setattr("sidekiq_lua.instance.sidekiq", other)

    assert sidekiq_lua.Deploy.mark("v9", at=NOW_S)

    assert sidekiq_lua.Deploy.fetch(datetime.date(2026, 11, 24)) == {AT: "v9"}
    other.close()


def test_git_names_a_deploy(app: Sidekiq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="no git commit is found here: give the deploy a label"):
        Deploy(app).mark(at=NOW_S)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Größer\n\nbody"]):
        subprocess.run([*git, *command], check=True)
    Deploy(app).mark(at=NOW_S)

    (label,) = Deploy(app).fetch(datetime.date(2026, 11, 24)).values()
    assert re.fullmatch(r"[0-9a-f]{7,} Größer", label)


@pytest.mark.parametrize("label", ["", "  ", "x" * 1001])
def test_labels_that_are_refused(app: Sidekiq, label: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 1000 characters"):
        Deploy(app).mark(label)


def test_a_naive_time_is_refused(app: Sidekiq) -> None:
    with pytest.raises(ConfigurationError, match="`at` has no time zone"):
        Deploy(app).mark("v2", at=datetime.datetime(2026, 11, 24))  # noqa: DTZ001
