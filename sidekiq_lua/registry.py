"""Which Python class runs which class name of a payload. A payload can never cause an import."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .errors import DuplicateJobClass, UnknownJobClass

if TYPE_CHECKING:
    from .job import JobBase

_RUN = "; if they are one, its file is run and imported too: move the job to a module that is only imported"


class Registry:
    """The job classes of one instance, by the name that payloads carry."""

    def __init__(self) -> None:
        self._classes: dict[str, type[JobBase[Any]]] = {}

    def add(self, job_class: type[JobBase[Any]]) -> None:
        """Raises DuplicateJobClass if another class has the name."""
        name = job_class.sidekiq_name()
        known = self._classes.get(name)
        if known is not None and _path(known) != _path(job_class):
            raise DuplicateJobClass(
                f"{_path(job_class)} and {_path(known)} are both called {name!r}: give one of them "
                f'sidekiq_class = "…", or abstract = True if it is only a base class'
                f"{_RUN if '__main__' in (known.__module__, job_class.__module__) else ''}"
            )
        self._classes[name] = job_class

    def get(self, name: str) -> type[JobBase[Any]]:
        """Raises UnknownJobClass, naming what is registered under a similar name."""
        try:
            return self._classes[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._classes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownJobClass(
                f"no job class {name!r} is registered in this process{hint} "
                "(a worker runs the classes that its -r modules define)"
            ) from None

    def find(self, name: str) -> type[JobBase[Any]] | None:
        return self._classes.get(name)

    def __iter__(self) -> Iterator[type[JobBase[Any]]]:
        return iter(list(self._classes.values()))

    def __len__(self) -> int:
        return len(self._classes)


def _path(job_class: type) -> str:
    # A module that is reloaded defines its classes anew; that is no second class.
    return f"{job_class.__module__}.{job_class.__qualname__}"
