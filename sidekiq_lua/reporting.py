"""What becomes of an error that nobody else handles: the error handlers, and the first of them, the log."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from .formatters import exception_line
from .log import SidekiqLogger, log_line

_NOT_SHOWN = {"queue", "will_retry"}


def logger_of(config: Any) -> logging.Logger:
    """The setting `logger`, or a SidekiqLogger on standard output, made when first asked for."""
    if config.logger is not None:
        return config.logger  # type: ignore[no-any-return]
    held = vars(config)
    if "_logger" not in held:
        held.setdefault("_logger", SidekiqLogger(level=config.log_level))
    return held["_logger"]  # type: ignore[no-any-return]


def log_error(error: BaseException, context: Mapping[str, Any], config: Any) -> None:
    """The error handler that is there from the start: one line at INFO, as Sidekiq's.

    In development, and at debug level, the traceback follows.
    """
    logger = logger_of(config)
    detailed = config.environment == "development" or logger.isEnabledFor(logging.DEBUG)
    shown = {name: value for name, value in context.items() if name not in _NOT_SHOWN}
    log_line(logger, logging.INFO, exception_line(error, detailed), shown)


def handle_exception(
    config: Any, error: BaseException, context: Mapping[str, Any], *, is_logged: bool = False
) -> None:
    """Call every error handler with (error, context, config); one that fails is logged, the others go on.

    `is_logged`: the caller has logged it, in words of its own, so `log_error` is left out.
    """
    for handler in list(config.error_handlers):
        if is_logged and handler is log_error:
            continue
        try:
            handler(error, context, config)
        except BaseException:  # also SystemExit, which would end a thread of the worker without a word
            logger_of(config).exception("an error handler failed: %r", handler)


class Reporting(ABC):
    """What an instance logs and reports, by its settings."""

    @property
    @abstractmethod
    def config(self) -> Any:
        """Its settings."""

    @property
    def logger(self) -> logging.Logger:
        """The setting `logger`, or a SidekiqLogger on standard output."""
        return logger_of(self.config)

    def handle_exception(
        self, error: BaseException, context: Mapping[str, Any], *, is_logged: bool = False
    ) -> None:
        """Tell every error handler, as Ruby's `handle_exception`; what they raise is logged.

        `context` says in `context` what failed, and has the `job` if there is one. `is_logged`: without
        `log_error`.
        """
        handle_exception(self.config, error, context, is_logged=is_logged)
