"""JSON and TOML from files that anything may have written: whatever is wrong with them is a ValueError."""

import json
from collections.abc import Callable
from typing import Any

_TOO_DEEP = "it is nested too deeply"


def parse_json(text: str, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """As json.loads does, but ValueError for nesting without end too."""
    try:
        return json.loads(text, object_hook=object_hook)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def parse_toml(text: str) -> dict[str, Any]:
    """As tomllib.loads does, but ValueError for nesting without end too."""
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
