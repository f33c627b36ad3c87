"""A worker in this process, with short intervals, on the shared server."""

from in_process import app, log, make_app, run

__all__ = ["app", "log", "make_app", "run"]
