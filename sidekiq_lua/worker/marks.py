"""Which jobs are running, in memory that outlives this process: written at each start, read at its death."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import deque
from pathlib import Path

SLOT = 64
"""Bytes of one mark: a crash key, which is shorter, padded with zeros. The stand-in loads no payload.py."""


class Marks:
    """One slot for each job that can run at a time, in a nameless file that a child process inherits."""

    def __init__(self, slots: int) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("sidekiq-lua-marks")
        else:
            self.fd, path = tempfile.mkstemp(prefix="sidekiq-lua-marks-")
            Path(path).unlink()
        self.size = slots * SLOT
        os.ftruncate(self.fd, self.size)
        self._map = mmap.mmap(self.fd, self.size)
        self._free = deque(range(slots))

    def begin(self, key: str) -> int | None:
        """Mark a job as running; answers what `end` takes. None: every slot is in use."""
        try:
            slot = self._free.popleft()
        except IndexError:
            return None
        at = slot * SLOT
        self._map[at : at + SLOT] = key.encode().ljust(SLOT, b"\0")
        return slot

    def end(self, slot: int | None) -> None:
        """The job has ended, well or not."""
        if slot is not None:
            self._map[slot * SLOT] = 0
            self._free.append(slot)

    def close(self) -> None:
        """Close the file. The memory stays: a thread that could not be ended may still write its mark."""
        os.close(self.fd)


def read_marks(memory: mmap.mmap) -> list[str]:
    """The keys of the jobs that were running."""
    slots = (memory[at : at + SLOT] for at in range(0, len(memory), SLOT))
    return [slot.rstrip(b"\0").decode() for slot in slots if slot[0]]
