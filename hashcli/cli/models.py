"""hashcli models: the hash models that are installed."""

import sys

from hashcli.cli.console import print_table, say, write_json
from hashcli.cli.options import Json

EXAMPLES = """Examples:\n
hashcli models\n
hashcli info --model lite-256     more about one of them"""


def run(json: Json = False) -> None:
    """List the hash models that come with hashcli, and your own."""
    from hashcli.cli.info import model_facts
    from hashcli.errors import HashcliError
    from hashcli.hashmodel.registry import model_folders, model_homes

    rows = []
    for folder in model_folders():
        try:
            rows.append(model_facts(folder))
        except HashcliError as error:
            say(f"skipped {folder}: {error.problem}")
    if json:
        for row in rows:
            write_json(row)
        return
    if not rows:
        say(f"No hash model is installed. hashcli looks for them in {' and '.join(map(str, model_homes()))}.")
        return
    columns = ("name", "bits", "megabytes", "folder")
    if sys.stdout.isatty():
        print_table(columns, [[str(row[column]) for column in columns] for row in rows])
    else:
        for row in rows:
            print("\t".join(str(row[column]) for column in columns))
