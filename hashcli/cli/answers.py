"""How the answers of a search are printed: as a table, as rows, as JSON, as paths alone."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from hashcli.cli.common import from_here, printable, say, stop_with, write_json, write_paths

if TYPE_CHECKING:
    from hashcli.index.search import SearchResult


class Style(Enum):
    """What stdout carries."""

    TABLE = auto()
    PICTURES = auto()
    ROWS = auto()  # tab-separated
    JSON = auto()
    PATHS = auto()
    PATHS0 = auto()


def style(*, json: bool, paths: bool, print0: bool, show: bool) -> Style:
    """What was asked for; without any, a table on a terminal and rows in a pipe."""
    if print0:
        paths = False
    asked = [wanted for wanted, given in zip(_STYLES, (json, paths, print0, show), strict=True) if given]
    if len(asked) > 1:
        stop_with("Choose one of --json, --paths (or -0) and --show: each prints something else.", status=2)
    if asked == [Style.PICTURES]:
        from hashcli.show.thumbnails import can_print_pictures

        asked = asked if can_print_pictures() else []
    return asked[0] if asked else Style.TABLE if sys.stdout.isatty() else Style.ROWS


_STYLES = (Style.JSON, Style.PATHS, Style.PATHS0, Style.PICTURES)


@dataclass(frozen=True)
class Answer:
    """What was found for one query. `number` is the query's place in a batch, from 1; None where there is no batch.

    `smallest` is the distance of the nearest item, near enough to be a match or not; None where there is none. `gone`
    are the paths of matches that are no longer on disk.
    """

    number: int | None
    query: str
    photos: tuple[str, ...]
    matches: Sequence["SearchResult"]
    smallest: int | None
    gone: frozenset[str]


def answer(
    number: int | None, query: str, photos: tuple[str, ...], matches: Sequence["SearchResult"], smallest: int | None
) -> Answer:
    gone = frozenset(match.path for match in matches if not os.path.exists(match.path))
    return Answer(number, query, photos, matches, smallest, gone)


def write_page(found: Sequence[Answer], html: Path | None, *, open_: bool) -> None:
    """Write answers as a page of pictures, to `html` or, only to be looked at, to a temporary file."""
    from hashcli.show.contact_sheet import Group, open_file, write

    if html is None:
        import tempfile

        html = Path(tempfile.mkdtemp(prefix="hashcli-")) / "answers.html"
    groups = [Group(one.query, one.matches, [path for path in one.photos if os.path.exists(path)]) for one in found]
    unshown = write(html, found[0].query if len(found) == 1 else f"{len(found)} searches", groups)
    for path, reason in unshown:
        say(f"not shown: {path}: {reason}")
    say(f"The page of answers is {html}.")
    if open_:
        open_file(html)


def write(found: Answer, style: Style) -> None:
    """Print one answer on stdout."""
    if style in (Style.PATHS, Style.PATHS0):
        paths = dict.fromkeys(match.path for match in found.matches if match.path not in found.gone)
        write_paths(paths, "\0" if style is Style.PATHS0 else "\n")
    elif style is Style.JSON:
        for match in found.matches:
            write_json(_json(found, match))
    elif style is Style.PICTURES:
        from hashcli.show.thumbnails import print_matches

        if found.number is not None:
            print(found.number, printable(found.query), sep="  ")
        print_matches(found.matches, _place)
    elif style is Style.TABLE and found.matches:
        _print_table(found)
    else:
        for match in found.matches:
            number = [] if found.number is None else [found.number]
            print(*number, match.rank, match.distance, _place(match), *_text(match), sep="\t")


def _json(found: Answer, match: "SearchResult") -> dict[str, object]:
    row: dict[str, object] = {} if found.number is None else {"query": found.number}
    row |= {"rank": match.rank, "kind": match.kind, "path": match.path, "distance": match.distance}
    row["similarity"] = round(match.similarity, 4)
    row |= {name: value for name in ("text", "line", "photo") if (value := getattr(match, name)) is not None}
    if match.taken is not None:
        row["taken"] = iso(match.taken)
    if match.path in found.gone:
        row["missing"] = True
    return row


def iso(taken: int) -> str:
    """Seconds of local time as the camera wrote them, such as 2024-05-14T18:03:00."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(taken, UTC).replace(tzinfo=None).isoformat()


def _place(match: "SearchResult") -> str:
    """Where an answer is, as seen from here: a photo's path, or a text's file and line."""
    path = printable(from_here(match.path))
    return path if match.line is None else f"{path}:{match.line}"


def _text(match: "SearchResult") -> Iterable[str]:
    return () if match.text is None else (printable(match.text),)


def _print_table(found: Answer) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if found.number is not None:
        console.print(f"{found.number}  {printable(found.query)}", markup=False, highlight=False)
    texts = any(match.text is not None for match in found.matches)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("distance", justify="right")
    if texts:
        table.add_column("text", overflow="fold", ratio=2)
    table.add_column("from" if texts else "photo", overflow="fold", ratio=1 if texts else None)
    for match in found.matches:
        path = Text(_place(match), style=f"link {Path(match.path).as_uri()}")
        if match.path in found.gone:
            path.append("  (not there now)", style="red")
        words = [Text(*_text(match))] if texts else []
        table.add_row(str(match.rank), str(match.distance), *words, path)
    console.print(table)
