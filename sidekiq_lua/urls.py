"""Server URLs as they may be shown."""

from __future__ import annotations

import re


def mask(url: str) -> str:
    """The URL with every password in it as `***`; for logs, errors and process titles.

    Takes too much rather than too little of a malformed URL.
    """
    url = re.sub(
        r"^([a-z][a-z0-9+.-]*://|(?!\w+://))([^:@/?#]*):.*@",
        r"\1\2:***@",
        url,
        flags=re.DOTALL | re.IGNORECASE,
    )
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", url, flags=re.IGNORECASE)
