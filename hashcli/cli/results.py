"""How the results of a search are printed: as a table, as rows, as JSON, as paths only, as a page of pictures."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from hashcli.cli.console import from_here, say, stop_with, write_json, write_paths
from hashcli.json_rows import result_row
from hashcli.printable import link_to, local_time, printable

if TYPE_CHECKING:
    from hashcli.index.results import SearchResult, SearchResults


_WIDE = 60  # columns of a terminal in which a table has room for dates


class Style(Enum):
    """What stdout carries."""

    TABLE = auto()
    PICTURES = auto()
    ROWS = auto()  # tab-separated
    JSON = auto()
    PATHS = auto()
    PATHS0 = auto()


_CHOICES = (Style.JSON, Style.PATHS, Style.PATHS0, Style.PICTURES)


def choose_style(*, json: bool, paths: bool, print0: bool, show: bool) -> Style:
    """The chosen style; by default a table on a terminal, and rows in a pipe."""
    if print0:
        paths = False
    chosen = [style for style, given in zip(_CHOICES, (json, paths, print0, show), strict=True) if given]
    if len(chosen) > 1:
        stop_with("Choose only one of --json, --paths (or -0) and --show.", status=2)
    if chosen == [Style.PICTURES]:
        from hashcli.show.thumbnails import can_print_pictures

        chosen = chosen if can_print_pictures() else []
    return chosen[0] if chosen else Style.TABLE if sys.stdout.isatty() else Style.ROWS


@dataclass(frozen=True)
class Answer:
    """The results of one query. `number` is its line in a batch, from 1; None if there is no batch. `by_date` says
    whether they were sorted by their dates."""

    number: int | None
    results: "SearchResults"
    by_date: bool = False

    @property
    def query(self) -> str:
        return self.results.query.name


def write(answer: Answer, style: Style, *, with_places: bool = False) -> None:
    """Print one answer on stdout; a table `with_places` says where photos were taken."""
    if style in (Style.PATHS, Style.PATHS0):
        paths = dict.fromkeys(result.path for result in answer.results if not result.is_missing)
        write_paths(paths, "\0" if style is Style.PATHS0 else "\n")
    elif style is Style.JSON:
        for result in answer.results:
            write_json(({} if answer.number is None else {"query": answer.number}) | result_row(result))
    elif style is Style.PICTURES:
        from hashcli.show.thumbnails import print_results

        if answer.number is not None:
            print(answer.number, printable(answer.query), sep="  ")
        print_results(answer.results, _place)
    elif style is Style.TABLE and answer.results:
        _print_table(answer, with_places=with_places)
    else:
        for result in answer.results:
            number = [] if answer.number is None else [answer.number]
            print(*number, result.rank, _distance(result), _place(result), *_text(result), sep="\t")


def write_page(answers: Sequence[Answer], html: Path | None, *, open_: bool) -> None:
    """Write answers as a page of pictures, to `html` or, just for a look, to a temporary file."""
    from hashcli.show.contact_sheet import QueryResults, open_file, write

    if html is None:
        import tempfile

        html = Path(tempfile.mkdtemp(prefix="hashcli-")) / "results.html"
    groups = [
        QueryResults(answer.query, answer.results, list(filter(os.path.exists, answer.results.query.photos)))
        for answer in answers
    ]
    unshown = write(html, answers[0].query if len(answers) == 1 else f"{len(answers)} searches", groups)
    for path, reason in unshown:
        say(f"not shown: {path}: {reason}")
    say(f"Page written: {html}")
    if open_:
        open_file(html)


def _day(result: "SearchResult") -> str:
    """The day of a photo; in brackets if that is only when the file was last changed."""
    if result.text is not None or result.date is None:
        return ""
    day = local_time(result.date).partition("T")[0]
    return f"({day})" if result.taken is None else day


def _place(result: "SearchResult") -> str:
    """Where a result is, as seen from here: a photo's path, or a text's file and line. On another machine, as seen from
    there."""
    path = printable(from_here(result.path) if result.machine is None else result.path)
    return path if result.line is None else f"{path}:{result.line}"


def _distance(result: "SearchResult") -> str:
    """The distance, or - for none."""
    return "-" if result.distance is None else str(result.distance)


def _text(result: "SearchResult") -> list[str]:
    return [] if result.text is None else [printable(result.text)]


def _geo(result: "SearchResult") -> str:
    """Where a photo was taken, as a link of the form geo:48.86,2.35 (RFC 5870); empty if it does not say."""
    return "" if result.latitude is None else f"geo:{result.latitude:.5f},{result.longitude:.5f}"


def _print_table(answer: Answer, *, with_places: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if answer.number is not None:
        console.print(f"{answer.number}  {printable(answer.query)}", markup=False, highlight=False)
    has_texts = any(result.text is not None for result in answer.results)
    has_dates = console.width >= _WIDE and (
        answer.by_date or any(result.taken is not None for result in answer.results)
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("distance", justify="right")
    if has_dates:
        table.add_column("date")
    if has_texts:
        table.add_column("text", overflow="fold", ratio=2)
    table.add_column("from" if has_texts else "photo", overflow="fold", ratio=1 if has_texts else None)
    with_words = any(result.words for result in answer.results)
    if with_words:
        table.add_column("words")
    if with_places:
        table.add_column("place")
    with_machines = any(result.machine is not None for result in answer.results)
    if with_machines:
        table.add_column("machine")
    for result in answer.results:
        path = Text(_place(result), style=f"link {link_to(result.path)}")
        if result.is_missing:
            path.append("  (no longer there)", style="red")
        if result.copies:
            path.append(f"  +{result.copies} identical", style="dim")
        words = [Text(*_text(result))] if has_texts else []
        date = [Text(_day(result))] if has_dates else []
        geo = [Text(_geo(result), style=f"link {_geo(result)}" if _geo(result) else "")] if with_places else []
        held = [Text(", ".join(result.words))] if with_words else []
        machine = [Text(printable(result.machine or ""))] if with_machines else []
        table.add_row(str(result.rank), _distance(result), *date, *words, path, *held, *geo, *machine)
    console.print(table)
