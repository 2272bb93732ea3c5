"""hashcli models: the hash models that are installed."""

import os
import sys
from shlex import quote
from typing import Any

from hashcli.cli.console import print_table, say, write_json
from hashcli.cli.options import Json
from hashcli.printable import printable

EXAMPLES = """Examples:\n
hashcli models\n
hashcli info --model lite-256     more about one of them"""


def run(json: Json = False) -> None:
    """List the hash models that come with hashcli, and your own.

    A model is found by the name of its folder.
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
