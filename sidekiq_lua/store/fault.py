"""Where a test can break a call off in the middle. In production nothing is set here, and nothing happens."""

from __future__ import annotations

from collections.abc import Callable

at: Callable[[str, str], None] | None = None
"""Called with the stage that a call has come to, and its name: a script, a command, or scripts joined by "+".

"before": nothing was sent. "loaded": a script that the server did not know was loaded. "sent": the request is
written, the reply not read. "after": the reply is read, and nobody has acted on it.
"""
