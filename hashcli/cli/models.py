"""hashcli models: the hash models that are installed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from hashcli.cli.console import from_here, print_table, say, write_json
from hashcli.cli.options import Json
from hashcli.printable import printable

EXAMPLES = """Examples:\n
hashcli models\n
hashcli info --model lite-256     more about one of them"""


def run(json: Json = False) -> None:
    """List the hash models that come with hashcli, and your own.

    Your own are those in hashcli's data folder, those of runs of hashcli distill in ./runs, and those that your
    indexes use. The name is what --model takes: that of the folder, or a path.
    """
    from hashcli.cli.info import model_facts
    from hashcli.errors import HashcliError
    from hashcli.hashmodel.registry import model_folders, user_models

    rows: dict[str, dict[str, Any]] = {}
    for folder in model_folders():
        if folder.name in rows:
            say(f"{folder} has the name of a model that comes with hashcli: give it by its folder, or rename it.")
            continue
        try:
            rows[folder.name] = model_facts(folder) | {"name": folder.name}
        except HashcliError as error:
            say(f"skipped {folder}: {error.problem}")
    listed = {row["folder"] for row in rows.values()}
    for folder in dict.fromkeys([*_of_runs(), *_of_indexes()]):
        if str(folder) in listed:
            continue
        name = from_here(str(folder))
        try:
            rows[name] = model_facts(folder) | {"name": name}
        except HashcliError as error:
            say(f"skipped {name}: {error.problem}")
    if json:
        for row in rows.values():
            write_json(row)
        return
    columns = ("name", "bits", "megabytes", "folder")
    cells = [[printable(str(row[column])) for column in columns] for row in rows.values()]
    if cells and sys.stdout.isatty():
        print_table(columns, cells)
    else:
        for one in cells:
            print("\t".join(one))
    home = user_models()
    make = "" if os.path.isdir(home) else f"mkdir -p {quote(str(home))} && "
    say(f"hashcli finds your own models in {home}")
    say(f"To add one: {make}cp -r runs/mine/model-256 {quote(str(home / 'mine'))}")


def _of_runs() -> Iterator[Path]:
    """The models that runs below the working folder made, also runs of several seeds."""
    from hashcli.hashmodel.description import FILE_NAME

    for pattern in ("*/model-*", "*/seed-*/model-*"):
        for file in sorted(Path("runs").glob(f"{pattern}/{FILE_NAME}")):
            yield file.parent.resolve()


def _of_indexes() -> Iterator[Path]:
    """The models that the index in use and the named indexes were made with, as far as they are there."""
    from hashcli.errors import HashcliError
    from hashcli.hashmodel.registry import find_model
    from hashcli.index.locations import locate, named_indexes
    from hashcli.index.search import Index

    try:
        found = [locate().folder]
    except HashcliError:  # of no importance here
        found = []
    for folder in [*found, *named_indexes().values()]:
        try:
            with Index(folder) as index:
                yield find_model(index.indexed_model.source)
        except HashcliError:
            continue
