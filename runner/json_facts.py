"""Makes the values of a playbook's set_stats safe to store: plain JSON of bounded size."""

from __future__ import annotations

import json
import math
import re
from typing import Any

FACTS_LIMIT_BYTES = 256 * 1024

# PostgreSQL stores neither of these in a JSON value.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def json_safe(value: Any) -> Any:
    """Return `value` with numbers that JSON lacks as None and characters that databases refuse replaced."""
    if isinstance(value, dict):
        return {_UNSTORABLE.sub("\ufffd", str(key)): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def size_bytes(facts: dict[str, Any]) -> int:
    """Return how much room `facts` take as JSON."""
    return len(json.dumps(facts))
