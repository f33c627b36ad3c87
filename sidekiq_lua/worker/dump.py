"""The backtraces of all threads, for TTIN."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

from ..context import tid_of


def dump_threads(log: logging.Logger) -> None:
    """Log every thread's name and backtrace at WARN."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        log.warning("Thread TID-%s %s", tid_of(thread.native_id or 0, thread.ident or 0), thread.name)
        frame = frames.get(thread.ident or 0)
        if frame is None:
            log.warning("<no backtrace available>")
        else:
            log.warning("%s", "".join(traceback.format_stack(frame)).rstrip())
