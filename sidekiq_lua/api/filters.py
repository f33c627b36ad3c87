"""Which jobs an action is meant for: those of a class, with a tag, with a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..job import JobBase

if TYPE_CHECKING:
    from .record import JobRecord


class Filter:
    """All conditions that were given hold.

    `job_class` is a job class or a class's name, and holds for what an ActiveJob wraps too; `tag` is one of
    the job's tags; `text` is in its JSON as it is stored, and a `*` in it stands for anything. Raises
    ConfigurationError for a condition of a wrong type.
    """

    def __init__(
        self,
        job_class: type[JobBase[...]] | str | None = None,
        tag: str | None = None,
        text: str | None = None,
    ) -> None:
        self._class = class_name(job_class) if job_class is not None else None
        self._tag = _checked("tag", tag)
        parts = (_checked("text", text) or "").split("*")
        self._pattern = (
            re.compile(b".*".join(re.escape(part.encode()) for part in parts), re.S)
            if len(parts) > 1
            else None
        )
        needles = [max(parts, key=len).encode(), *map(in_any_json, filter(None, (self._class, self._tag)))]
        self.needle = max(needles, key=len)
        """What Redis looks for: a text that the jobs surely contain."""
        self._needles = [needle for needle in needles if needle]

    def __bool__(self) -> bool:
        return bool(self._needles or self._class or self._tag)

    def __call__(self, record: JobRecord) -> bool:
        if not all(needle in record.value for needle in self._needles):
            return False
        if self._pattern and not self._pattern.search(record.value):
            return False
        if self._class is not None and self._class not in (record.klass, record["wrapped"]):
            return False
        return self._tag is None or self._tag in record.tags


def class_name(job_class: type[JobBase[...]] | str) -> str:
    """The name in payloads. Raises ConfigurationError for what is no job class and no name."""
    if isinstance(job_class, type) and issubclass(job_class, JobBase):
        return job_class.sidekiq_name()
    if not isinstance(job_class, str) or not job_class:
        raise ConfigurationError(f"a job class or the name of one is needed, not {job_class!r}")
    return job_class


def in_any_json(text: str) -> bytes:
    """The longest part of a text that every program writes alike in JSON: some escape é, `/` or `<`."""
    return max(re.split(r"[^A-Za-z0-9 _:.,;@#*()\[\]{}|~=%$!?-]+", str(text)), key=len).encode()


def _checked(name: str, value: str | None) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"{name} must be a text, not {value!r}")
    return value
