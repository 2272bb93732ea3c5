"""The errors a person can act on."""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path


class HashcliError(Exception):
    """An error that a person can put right. All errors of the library that callers should expect are of this class.

    `problem` says what is wrong and with which input; `remedy` says what to do about it, and may be empty.

        try:
            hashcli.open_index("no/such/index")
        except hashcli.HashcliError as error:
            print(error.problem, error.remedy)
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".rstrip()


def how_to_install(extra: str) -> str:
    """What to do where an extra is missing. By its name alone, pip might find somebody else's hashcli."""
    return f"In a checkout of hashcli: pip install '.[{extra}]'"


def reason_of(error: Exception) -> str:
    """Why something was skipped, without the path: what the system says in words, or the error's own message."""
    if isinstance(error, HashcliError):
        return error.problem
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A sentence that offers the known name most like the given one, with a space before it; "" if none is close."""
    close = _closest(given, known)
    return f" Did you mean {close}?" if close else ""


def did_you_mean_path(given: str) -> str:
    """The same for a path: each part that does not exist is compared with the names there. "" if the path exists."""
    absolute = os.path.abspath(os.path.expanduser(given))
    if os.path.lexists(absolute):
        return ""
    found, *parts = Path(absolute).parts
    for part in parts:
        if not os.path.lexists(os.path.join(found, part)):
            part = _closest(part, _some_names(found)) or ""
            if not part:
                return ""
        found = os.path.join(found, part)
    return f" Did you mean {min(found, os.path.relpath(found), key=len)}?"


def _some_names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, 5000)]  # comparing more would take noticeably long
    except OSError:
        return []


def _closest(given: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    by_folded = {name.casefold(): name for name in known}
    close = get_close_matches(given.casefold(), by_folded, n=1, cutoff=0.65)
    return by_folded[close[0]] if close else None
