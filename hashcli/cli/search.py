"""hashcli search: find photos by words or by a photo."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hashcli.cli.common import (
    Debug,
    IndexFolder,
    Json,
    from_here,
    index_command,
    index_folder,
    printable,
    say,
    stop_with,
    write_json,
    write_paths,
)

if TYPE_CHECKING:
    from hashcli.index.search import Index, Match

EXAMPLES = """Examples:\n
hashcli search dog on a beach\n
hashcli search --text "dog on a beach" -k 20\n
hashcli search --image dog.jpg --json\n
hashcli search -0 "birthday cake" | xargs -0 -I {} cp {} cakes/"""


def run(
    words: Annotated[list[str] | None, typer.Argument(help="What to look for, in words.", show_default=False)] = None,
    text: Annotated[str | None, typer.Option("--text", help="What to look for, in words.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="A photo to find others like.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many answers.")] = 10,
    index: IndexFolder = None,
    rerank: Annotated[
        int,
        typer.Option(
            min=0,
            help="Order so many of the nearest by the finer score of the query's real values, not by distance.",
        ),
    ] = 0,
    json: Json = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone.")] = False,
    print0: Annotated[
        bool, typer.Option("-0", "--print0", help="Print paths alone, each ended by a zero byte.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Find photos by words, or photos like a photo.

    The distance is how many bits of the two codes differ: fewer is better, and half of all bits is chance.
    """
    queries = [query for query in (" ".join(words) if words else None, text, image) if query is not None]
    if len(queries) != 1 or not queries[0].strip():
        stop_with("Give one query: words, --text or --image.", 'For example: hashcli search "dog on a beach"', status=2)
    if json and (paths or print0):
        stop_with("--json prints rows, --paths and -0 print paths: choose one.", status=2)

    from hashcli.index.search import Index

    with Index(index_folder(index)) as opened:
        matches = _answers(opened, image, queries[0], k, rerank)
    if not matches:
        say(f"The index in {opened.folder} holds no photos. Add some: {index_command(opened.folder)} PATH-OF-PHOTOS")
        return
    gone = {match.path for match in matches if not os.path.exists(match.path)}
    if paths or print0:
        write_paths((match.path for match in matches if match.path not in gone), "\0" if print0 else "\n")
    elif json:
        for match in matches:
            write_json(_row(match) | ({"missing": True} if match.path in gone else {}))
    elif sys.stdout.isatty():
        _print_table(matches, gone)
    else:
        for match in matches:
            print(f"{match.rank}\t{match.distance}\t{printable(from_here(match.path))}")
    if gone:
        say(f"{len(gone)} of the nearest photos are no longer there, {min(gone)} for one.")
        say(f"To refresh the index: {index_command(opened.folder)}")


def _answers(opened: "Index", image: str | None, query: str, k: int, rerank: int) -> "list[Match]":
    from hashcli.index.catalog import Kind

    model = opened.load_model()
    if image is None:
        output = model.encode_texts([query])[0]
    else:
        import numpy as np

        from hashcli.errors import reason_of
        from hashcli.hashmodel.images import UnreadableImageError

        try:
            output = model.encode_pixels(np.stack([model.load_pixels(image)]))[0]
        except (UnreadableImageError, OSError) as error:
            stop_with(
                f"{image} cannot be read: {reason_of(error)}.", "Give a photo in a format such as JPEG, PNG or WebP."
            )
    return opened.nearest(Kind.IMAGE, output, k, rerank)


def _row(match: "Match") -> dict[str, object]:
    return {
        "rank": match.rank,
        "kind": match.kind,
        "path": match.path,
        "distance": match.distance,
        "similarity": round(match.similarity, 4),
    }


def _print_table(matches: "list[Match]", gone: set[str]) -> None:
    from pathlib import Path

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("photo", overflow="fold")
    for match in matches:
        path = Text(printable(from_here(match.path)), style=f"link {Path(match.path).as_uri()}")
        if match.path in gone:
            path.append("  (no longer there)", style="red")
        table.add_row(str(match.rank), str(match.distance), path)
    Console().print(table)
