"""hashcli search: find photos and texts by words, by photos, or by both."""

import os
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hashcli.cli.common import SKIPPED, IndexFolder, IndexName, Json, index_command, index_folder, say, stop_with
from hashcli.errors import HashcliError, did_you_mean_path

if TYPE_CHECKING:
    import numpy as np

    from hashcli.cli.answers import Answer
    from hashcli.index.catalog import Kind
    from hashcli.index.code_index import DistanceLimit
    from hashcli.index.query import Query
    from hashcli.index.search import Filter, Index

EXAMPLES = """Examples:\n
hashcli search dog on a beach\n
hashcli search --image dog.jpg --text snow --not "a person" -k 20\n
hashcli search --image dog.jpg --for texts\n
hashcli search "birthday cake" --after 2023 --in ~/Pictures/family\n
hashcli search -0 "birthday cake" | xargs -0 -I {} cp {} cakes/\n
hashcli search --batch queries.txt --json"""

_BATCH = 256  # queries encoded together


class For(StrEnum):
    """What is to be found."""

    PHOTOS = "photos"
    TEXTS = "texts"
    BOTH = "both"


def run(
    words: Annotated[list[str] | None, typer.Argument(help="What to look for, in words.", show_default=False)] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Words too. This and the next three may be repeated and weighed: 2:dog")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="A photo: a file, an http(s) address, or - for one on stdin.")
    ] = None,
    not_: Annotated[list[str] | None, typer.Option("--not", help="Words to keep away from.")] = None,
    not_image: Annotated[list[str] | None, typer.Option(help="A photo to keep away from.")] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Many queries, one a line: words or JSON, in a file or - for stdin. Or codes.npy of encode."),
    ] = None,
    for_: Annotated[For, typer.Option("--for", help="What to find.")] = For.PHOTOS,
    k: Annotated[int, typer.Option("-k", min=1, help="How many answers, at most.")] = 10,
    max_distance: Annotated[int | None, typer.Option(min=0, help="None further away than so many bits.")] = None,
    within: Annotated[int | None, typer.Option(min=0, help="None so many bits further away than the nearest.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The nearest even where none is near enough to be what the words say.")
    ] = False,
    folders: Annotated[
        list[str] | None, typer.Option("--in", help="Only what lies in this folder. May be repeated.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Only photos of this day or later: 2023, 2023-05 or 2023-05-14.")
    ] = None,
    before: Annotated[str | None, typer.Option(help="Only photos from before this day.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only files of this type, such as png. May be repeated.")
    ] = None,
    rerank: Annotated[
        int,
        typer.Option(
            min=0,
            help="So many of the nearest are put in a finer order, by the query's real values. 0: by distance alone.",
        ),
    ] = 1000,
    index: IndexFolder = None,
    name: IndexName = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the answers to this file, as a page of pictures.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open that page in the browser.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the photos here, in the terminal.")] = False,
    json: Json = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone.")] = False,
    print0: Annotated[
        bool, typer.Option("-0", "--print0", help="Print paths alone, each ended by a zero byte.")
    ] = False,
) -> None:
    """Find photos by words or by photos, and texts too.

    The distance is how many bits of the two codes differ: fewer is better, and half of all bits is chance.
    Several words and photos are looked for together: an answer should fit all of them.
    """
    from hashcli.cli import answers, queries
    from hashcli.index.catalog import Kind
    from hashcli.index.code_index import DistanceLimit
    from hashcli.index.search import Index

    style = answers.style(json=json, paths=paths, print0=print0, show=show)
    if html and html.suffix.lower() not in (".html", ".htm"):
        stop_with(f"--html {html} must end in .html.", f"For example: --html {html.with_suffix('.html')}", status=2)
    where = _filter(folders or [], after, before, types or [])
    if words and queries.begins_with_weight(words[0]):
        say(f"{words[0]} is looked for as it stands. Weights belong to options: --text {shlex.quote(words[0])}")
    single = None
    if batch is None:
        try:
            single = queries.query(" ".join(words or []), text or [], image or [], not_ or [], not_image or [])
        except ValueError as error:
            stop_with(f"This is no query: {error}.", 'For example: hashcli search "dog on a beach"', status=2)
    elif words or text or image or not_ or not_image:
        stop_with("--batch brings its own queries.", "Put all of them into it.", status=2)
    kinds = [kind for kind in Kind if for_ in (For.BOTH, For.PHOTOS if kind is Kind.IMAGE else For.TEXTS)]
    chosen = everything or max_distance is not None or within is not None
    near = DistanceLimit() if everything else DistanceLimit(max_distance, within) if chosen else None
    if batch is not None and batch.endswith(".npy"):
        rerank = 0  # a code has no finer values than its bits
    page: list[answers.Answer] = []
    gone: set[str] = set()
    failed = False
    with Index(index_folder(index, name)) as opened:
        for block in _asked(opened, single, batch):
            for asked in block:
                if isinstance(asked.output, HashcliError):
                    if asked.number is None:
                        raise asked.output
                    say(f"skipped query {asked.number}: {asked.output.problem}")
                    failed = True
            for found in _answers(opened, block, kinds, k, rerank, where, near):
                answers.write(found, style)
                gone |= found.gone
                if found.number is None:
                    _say_what_is_missing(opened, found, kinds, chosen=chosen)
                if html or open_:
                    page.append(found)
    if gone:
        _say_what_is_gone(gone)
    if html or open_:
        answers.write_page(page, html, open_=open_)
    if failed:
        raise typer.Exit(SKIPPED)


class _Asked(NamedTuple):
    """A query with its float output [bits], or why it has none. `number` is its line in a batch.

    `match_distance` is how near a photo is that fits; None for other queries than words, or where the model is silent.
    """

    number: int | None
    name: str
    photos: tuple[str, ...]
    match_distance: int | None
    output: "np.ndarray | HashcliError"


def _asked(opened: "Index", single: "Query | None", batch: str | None) -> Iterator[list[_Asked]]:
    """The queries, encoded, in blocks."""
    from hashcli.cli import queries
    from hashcli.hashmodel.prefetch import batched
    from hashcli.index.query import encode

    if batch is not None and batch.endswith(".npy"):
        rows = zip(*queries.read_codes(batch, opened.model.bits), strict=True)
        yield [_Asked(number, name, (), None, output) for number, (name, output) in enumerate(rows, start=1)]
        return
    model = opened.load_model()
    numbered = [(None, single)] if single else queries.read_queries(batch or "-")
    for block in batched(numbered, _BATCH):
        outputs = encode(model, [query for _, query in block])
        for_words = model.description.match.distance if model.description.match else None
        yield [
            _Asked(number, query.name, query.photos, for_words if query.is_words else None, output)
            for (number, query), output in zip(block, outputs, strict=True)
        ]


def _answers(
    opened: "Index",
    block: list[_Asked],
    kinds: "list[Kind]",
    k: int,
    rerank: int,
    where: "Filter",
    near: "DistanceLimit | None",
) -> "Iterator[Answer]":
    """The answers to the queries that could be encoded.

    Unless `near` bounds them, photos for words must be as near as the model says that a fitting one is.
    """
    import numpy as np

    from hashcli.cli.answers import answer
    from hashcli.index.catalog import Kind
    from hashcli.index.code_index import DistanceLimit

    block = [asked for asked in block if not isinstance(asked.output, HashcliError)]
    outputs = np.array([asked.output for asked in block], np.float32).reshape(len(block), opened.model.bits)
    found = [
        opened.nearest_each(
            kind,
            outputs,
            k,
            rerank,
            where,
            [near or DistanceLimit(asked.match_distance if kind is Kind.IMAGE else None) for asked in block],
        )
        for kind in kinds
    ]
    for asked, *of_kinds in zip(block, *found, strict=True):
        smallest = min((one.smallest for one in of_kinds if one.smallest is not None), default=None)
        matches = [match for one in of_kinds for match in one.matches]
        yield answer(asked.number, asked.name, asked.photos, matches, smallest)


def _say_what_is_missing(opened: "Index", found: "Answer", kinds: "list[Kind]", *, chosen: bool) -> None:
    """Say why nothing was found. `chosen` tells whether the user set how near an answer must be."""
    from hashcli.index.catalog import Kind

    if found.matches:
        return
    name = " or ".join({Kind.IMAGE: "photos", Kind.TEXT: "texts"}[kind] for kind in kinds)
    if found.smallest is not None:
        say(f"No {name} are near enough: the nearest differ in {found.smallest} of {opened.model.bits} bits.")
        if not chosen:
            say("--all shows the nearest all the same.")
    elif any(opened.catalog.count(kind) for kind in kinds):
        say(f"No {name} of the index are such as --in, --after, --before or --type asks for.")
    else:
        say(f"The index in {opened.folder} holds no {name}. Add some: {index_command()} PATH-OF-PHOTOS")


def _say_what_is_gone(gone: set[str]) -> None:
    are = "answer is" if len(gone) == 1 else "answers are"
    say(f"{len(gone)} {are} not there now, {min(gone)} for one.")
    say(f"To refresh the index: {index_command()}")


def _filter(folders: list[str], after: str | None, before: str | None, types: list[str]) -> "Filter":
    from hashcli.index.files.paths import canonical
    from hashcli.index.search import Filter

    expanded = [os.path.expanduser(folder) for folder in folders]
    for folder in expanded:
        if not os.path.exists(folder):
            say(f"{folder} is not there now.{did_you_mean_path(folder)}")
    same = {"jpg": "jpeg", "tif": "tiff", "heif": "heic"}
    same |= {other: one for one, other in same.items()}
    plain = {name.lower().lstrip(".") for name in types}
    return Filter(
        tuple(path for folder in expanded for path in (canonical(folder), os.path.abspath(folder))),
        frozenset(f".{name}" for one in plain for name in (one, same.get(one, one))),
        _seconds("--after", after),
        _seconds("--before", before),
    )


def _seconds(option: str, day: str | None) -> float | None:
    """2023, 2023-05, 2023-05-14 or 2023-05-14T18:30 as seconds of local time."""
    if day is None:
        return None
    try:
        return (
            datetime.fromisoformat(day + "-01-01"[3 * day.count("-") :] if len(day) < 8 else day)
            .replace(tzinfo=UTC)
            .timestamp()
        )
    except ValueError:
        stop_with(f"{option} {day} is not a day.", f"For example: {option} 2023, {option} 2023-05-14", status=2)
