"""hashcli search: find photos and texts by words, by photos, or by both."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hashcli.cli.common import SKIPPED, IndexFolder, IndexName, Json, index_command, index_folder, say, stop_with
from hashcli.errors import HashcliError

if TYPE_CHECKING:
    import numpy as np

    from hashcli.cli.answers import Answer
    from hashcli.index.catalog import Kind
    from hashcli.index.query import Query
    from hashcli.index.search import Filter, Index, Match

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
    json: Json = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone.")] = False,
    print0: Annotated[
        bool, typer.Option("-0", "--print0", help="Print paths alone, each ended by a zero byte.")
    ] = False,
) -> None:
    """Find photos by words or by photos, and texts by photos or by words.

    The distance is how many bits of the two codes differ: fewer is better, and half of all bits is chance.
    Several words and photos are looked for together: an answer should fit all of them.
    """
    from hashcli.cli import answers, queries
    from hashcli.index.catalog import Kind
    from hashcli.index.search import Index

    style = answers.style(json=json, paths=paths, print0=print0, show=False)
    where = _filter(folders or [], after, before, types or [])
    single = None
    if batch is None:
        try:
            single = queries.query(" ".join(words or []), text or [], image or [], not_ or [], not_image or [])
        except ValueError as error:
            stop_with(f"This is no query: {error}.", 'For example: hashcli search "dog on a beach"', status=2)
    elif words or text or image or not_ or not_image:
        stop_with("--batch brings its own queries.", "Put all of them into it.", status=2)
    kinds = [kind for kind in Kind if for_ in (For.BOTH, For.PHOTOS if kind is Kind.IMAGE else For.TEXTS)]

    def near(matches: "list[Match]") -> "list[Match]":
        limit = min([match.distance for match in matches], default=0) + within if within is not None else None
        limits = [limit for limit in (limit, max_distance) if limit is not None]
        return [match for match in matches if all(match.distance <= limit for limit in limits)]

    failed = False
    with Index(index_folder(index, name)) as opened:
        for block in _asked(opened, single, batch):
            for asked in block:
                if isinstance(asked.output, HashcliError):
                    if asked.number is None:
                        raise asked.output
                    say(f"skipped query {asked.number}: {asked.output.problem}")
                    failed = True
            for found in _answers(opened, block, kinds, k, 0 if _holds_codes(batch) else rerank, where, near):
                answers.write(found, style)
                if not found.matches and found.number is None:
                    _say_why_nothing(opened, kinds, where)
                if found.gone:
                    say(f"{len(found.gone)} of the nearest are no longer there, {min(found.gone)} for one.")
                    say(f"To refresh the index: {index_command(opened.folder)}")
    if failed:
        raise typer.Exit(SKIPPED)


class _Asked(NamedTuple):
    """A query with its float output [bits], or why it has none. `number` is its line in a batch."""

    number: int | None
    name: str
    output: "np.ndarray | HashcliError"


def _holds_codes(batch: str | None) -> bool:
    return batch is not None and batch.endswith(".npy")


def _asked(opened: "Index", single: "Query | None", batch: str | None) -> Iterator[list[_Asked]]:
    """The queries, encoded, in blocks."""
    from hashcli.cli import queries
    from hashcli.hashmodel.ahead import in_batches
    from hashcli.index.query import encode

    if single is not None:
        (output,) = encode(opened.load_model(), [single])
        yield [_Asked(None, single.name, output)]
    elif batch is not None and _holds_codes(batch):
        names, outputs = queries.read_codes(batch, opened.model.bits)
        yield [_Asked(*row) for row in zip(range(1, len(names) + 1), names, outputs, strict=True)]
    elif batch is not None:
        model = opened.load_model()
        for block in in_batches(queries.read_queries(batch), _BATCH):
            encoded = encode(model, [query for _, query in block])
            yield [_Asked(number, query.name, output) for (number, query), output in zip(block, encoded, strict=True)]


def _answers(
    opened: "Index",
    block: list[_Asked],
    kinds: "list[Kind]",
    k: int,
    rerank: int,
    where: "Filter",
    near: "Callable[[list[Match]], list[Match]]",
) -> "Iterator[Answer]":
    import numpy as np

    from hashcli.cli.answers import answer

    asked = [one for one in block if not isinstance(one.output, HashcliError)]
    outputs = np.array([one.output for one in asked], np.float32).reshape(len(asked), opened.model.bits)
    of_kinds = [opened.nearest_each(kind, outputs, k, rerank, where) for kind in kinds]
    for one, *found in zip(asked, *of_kinds, strict=True):
        yield answer(one.number, one.name, [match for matches in found for match in near(matches)])


def _say_why_nothing(opened: "Index", kinds: "list[Kind]", where: "Filter") -> None:
    from hashcli.index.catalog import Kind

    name = " or ".join({Kind.IMAGE: "photos", Kind.TEXT: "texts"}[kind] for kind in kinds)
    if not any(opened.catalog.count(kind) for kind in kinds):
        say(f"The index in {opened.folder} holds no {name}. Add some: {index_command(opened.folder)} PATH-OF-PHOTOS")
    elif where:
        say(f"No {name} of the index pass --in, --after, --before and --type, or are near enough.")
    else:
        say(f"No {name} are near enough.")


def _filter(folders: list[str], after: str | None, before: str | None, types: list[str]) -> "Filter":
    from hashcli.index.search import Filter

    same = {"jpg": "jpeg", "tif": "tiff", "heif": "heic"}
    same |= {other: one for one, other in same.items()}
    plain = {name.lower().lstrip(".") for name in types}
    return Filter(
        tuple(os.path.realpath(os.path.expanduser(folder)) for folder in folders),
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
