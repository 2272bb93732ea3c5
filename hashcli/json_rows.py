"""Results, and what an index holds, as JSON in the one schema of the terminal and of the page that is served."""

import base64
import json
import os
from typing import TYPE_CHECKING, Any

from hashcli.printable import local_moment, local_time

if TYPE_CHECKING:
    from hashcli.index.results import SearchResult
    from hashcli.index.search import IndexInfo


def result_row(result: "SearchResult") -> dict[str, object]:
    """A result as a row of `search --json`."""
    row: dict[str, object] = {"rank": result.rank, "kind": result.kind, "path": result.path}
    row["distance"] = result.distance
    row["similarity"] = None if result.similarity is None else round(result.similarity, 4)
    row |= {"words": list(result.words)} if result.words else {}
    row |= {name: value for name in ("text", "line", "photo") if (value := getattr(result, name)) is not None}
    if result.text is None:
        row |= _date(result)
        row |= {name: value for name in ("latitude", "longitude") if (value := getattr(result, name)) is not None}
    if result.copies:
        row["copies"] = result.copies
    if result.is_missing:
        row["missing"] = True
    if result.machine is not None:
        row["machine"] = result.machine
    return row


def info_row(info: "IndexInfo") -> dict[str, Any]:
    """What an index holds as a row of `info --json`."""
    row = dict(vars(info)) | {"refreshed": None if info.refreshed is None else local_moment(info.refreshed)}
    return {"index": str(row.pop("folder"))} | row


def json_line(row: dict[str, Any]) -> str:
    """One JSON object in ASCII. Beside a name that is not UTF-8, which many readers of JSON cannot take as it is, are
    its bytes in base64: `path_bytes` beside `path`."""
    return json.dumps(_with_bytes(row))


def _date(result: "SearchResult") -> dict[str, object]:
    """The date by which filters judge a photo, and what it is."""
    if result.taken is not None:
        return {"taken": local_time(result.taken), "date_from": result.taken_from}
    modified = None if result.modified is None else local_time(result.modified)
    return {"modified": modified, "date_from": "modified"}


def _with_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    row: dict[str, Any] = {}
    for key, item in value.items():
        row[key] = _with_bytes(item)
        names = item if isinstance(item, list) else [item]
        if any(isinstance(name, str) and not _is_utf8(name) for name in names):
            encoded = [base64.b64encode(os.fsencode(name)).decode() for name in names]
            row[f"{key}_bytes"] = encoded if isinstance(item, list) else encoded[0]
    return row


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.isascii() or name.encode())
    except UnicodeEncodeError:
        return False
