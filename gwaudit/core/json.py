"""JSON that any reader takes: NaN and infinities, which JSON has not, become null."""

import json
import math
from typing import Any


def to_json(facts: Any, *, indent: int | None = 1) -> str:
    """As text; `indent` None for one line."""
    return json.dumps(without_nan(facts), indent=indent)


def without_nan(value: Any) -> Any:
    """The same with None for what is no finite number."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
