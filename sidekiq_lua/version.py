"""The version of this package and of the Redis schema it writes."""

__version__ = "0.1.0"

SIDEKIQ_VERSION = "8.1.7"
"""The Ruby Sidekiq whose data this version reads and writes."""

SCHEMA_VERSION = 1
"""Raised when the `lua:` keys change so that an older process must not run beside a newer one."""
