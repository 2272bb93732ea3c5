"""How a search in the terminal asks a server of the same index, which has the hash model loaded: over a unix socket of
the user's alone, one JSON object each way.

The terminal waits for what is imported here, so that is the standard library and little else.
"""

import hashlib
import json
import os
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hashcli
from hashcli.index.query import Query
from hashcli.index.results import SearchResult, SearchResults, WhyNone

MOST_RESULTS = 10_000  # of each kind, for which a server can be asked
_SECONDS = 2.0  # to wait for each part of an answer: about what the search takes without a server, on a slow machine


@dataclass(frozen=True)
class ServedAnswer:
    """What a server found, and what it says of the index: what messages call it, the name of its hash model, and the
    length of its codes."""

    results: SearchResults
    called: str
    model_name: str
    bits: int


def socket_folder() -> Path:
    """Where the sockets of servers are: in the folder that the system gives each user for such things, or else in the
    user's cache folder."""
    given = Path(os.environ.get("XDG_RUNTIME_DIR") or "")
    if given.is_absolute() and is_private(given):
        return given / "hashcli"
    from platformdirs import user_cache_path

    return user_cache_path("hashcli") / "sockets"


def is_private(folder: Path) -> bool:
    """Whether a folder is the user's own, and nobody else can look or write into it."""
    with suppress(OSError):
        state = os.lstat(folder)
        return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
    return False


def socket_path(folder: Path, index_folder: Path) -> Path:
    """The socket of the server of an index, whose folder is absolute and without links."""
    return folder / f"{hashlib.sha256(os.fsencode(index_folder)).hexdigest()[:20]}.socket"


def surroundings() -> list[Any]:
    """What else decides what an answer says: which hashcli this is, and the local time."""
    return [hashcli.__version__, os.path.dirname(hashcli.__file__), time.timezone, *time.tzname]


def ask(index_folder: Path, question: Mapping[str, Any], query: Query) -> ServedAnswer | None:
    """The answer of a server to a question, as results of a query; None if there is no server, or it cannot answer or
    does not in time.

    The question has the `texts`, `images`, `nots` and `not_images` of the query, each with its weight, and the
    arguments of Index.search, `where` and `limit` as the arguments of their classes. All its paths are absolute.
    """
    try:
        folder = socket_folder()
        if not is_private(folder):
            return None
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(os.fspath(socket_path(folder, index_folder)))
            connection.sendall(json.dumps({"from": surroundings(), **question}).encode() + b"\n")
            answer = json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
        return _read(query, answer) if answer else None
    except (OSError, ValueError, AttributeError):  # AttributeError: a system without unix sockets
        return None
    except (TypeError, KeyError):  # a server that has run since before a change of this program in its place
        return None


def _read(query: Query, answer: dict[str, Any]) -> ServedAnswer:
    rows = tuple(SearchResult(**row | {"words": tuple(row["words"])}) for row in answer["results"])
    why_none = answer["why_none"] and WhyNone[answer["why_none"]]
    found = SearchResults(query, rows, answer["nearest_distance"], why_none, tuple(answer["unknown_words"]))
    return ServedAnswer(found, answer["called"], answer["model_name"], answer["bits"])
