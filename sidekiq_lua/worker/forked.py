"""Ends a process that a job has forked and that came out of `perform`, as its parent's job does."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from ..push_buffer import close_all


def end_fork(error: BaseException | None) -> NoReturn:
    """Leave as a program would: what is thrown is shown, `sys.exit(3)` leaves with 3, kept pushes are sent.

    The job, its running list and the worker's name are the parent's. A child that went on would settle
    the job under its parent's hands, and take others in its name.
    """
    code = 0
    try:
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            code = 1
            traceback.print_exception(error)
        close_all()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code & 0xFF)
