"""hashcli info: what an index or a hash model contains."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashcli.cli.console import print_table, say, write_json
from hashcli.cli.options import IndexFolder, IndexName, Json, complete_model, index_location
from hashcli.printable import printable

if TYPE_CHECKING:
    from hashcli.index.search import IndexInfo

EXAMPLES = """Examples:\n
hashcli info                      the index
hashcli info --all                all your indexes
hashcli info --check              whether anything in the index is damaged
hashcli info --model lite-256     a hash model, after checking its files"""


def run(
    index: IndexFolder = None,
    name: IndexName = None,
    all_: Annotated[bool, typer.Option("--all", help="List the indexes that --name can choose.")] = False,
    model: Annotated[
        str | None,
        typer.Option(autocompletion=complete_model, help="Show a hash model instead, by name or folder."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read the whole index, and say whether anything in it is damaged.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what an index or a hash model contains.

    The exit status is 1 if it is damaged; what to do is said then. A hash model is always checked.
    """
    if all_:
        _print_all(json)
        return
    if model is None:
        from hashcli.cli.remedies import with_remedies
        from hashcli.index.search import Index

        location = index_location(index, name)
        with with_remedies(location), Index(location.folder) as opened:
            if check:
                opened.check()
            facts = _index_facts(opened.info()) | ({"check": "nothing is damaged"} if check else {})
    else:
        from hashcli.hashmodel.description import read, verify
        from hashcli.hashmodel.registry import find_model

        folder = find_model(model)
        verify(folder, read(folder))
        facts = model_facts(folder)
    if json:
        write_json(facts)
        return
    for key, value in facts.items():
        if key in ("texts_from", "texts_left_out"):  # shown with their count
            continue
        if key == "texts":
            parts = [f"{count} from {source}" for source, count in facts["texts_from"].items()]
            if facts["texts_left_out"]:
                parts.append(f"{facts['texts_left_out']} left out as written by cameras or programs")
            value = f"{value} ({', '.join(parts)})" if parts else value
        for item in value if isinstance(value, list) else [value]:
            print(f"{key:<12} {printable(_line(item))}")


def _print_all(json: bool) -> None:
    from hashcli.errors import HashcliError
    from hashcli.index.locations import named_indexes
    from hashcli.index.search import Index

    rows = []
    for name, folder in named_indexes().items():
        try:
            with Index(folder) as index:
                rows.append({"name": name} | _index_facts(index.info()))
        except HashcliError as error:
            say(f"skipped {name}: {error.problem}")
    if json:
        for row in rows:
            write_json(row)
        return
    if not rows:
        say("There is no index yet. To create one: hashcli index PATH-OF-PHOTOS, with --name NAME if you want several.")
    columns = ("name", "photos", "texts", "bytes", "index")
    if rows and sys.stdout.isatty():
        print_table(columns, [[printable(str(row[column])) for column in columns] for row in rows])
    else:
        for row in rows:
            print("\t".join(printable(str(row[column])) for column in columns))


def _index_facts(info: "IndexInfo") -> dict[str, Any]:
    facts = dict(vars(info))
    return {"index": str(facts.pop("folder"))} | facts


def model_facts(folder: Path) -> dict[str, Any]:
    """What the description of a hash model says."""
    from dataclasses import asdict

    from hashcli.hashmodel.description import read

    description = read(folder)
    return {
        "name": description.name,
        "bits": description.bits,
        "method": description.method,
        "teacher": description.teacher,
        "licence": description.licence,
        "fingerprint": description.fingerprint,
        "folder": str(folder),
        "megabytes": round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 1),
        "metrics": [asdict(metric) for metric in description.metrics],
    }


def _line(item: Any) -> str:
    if isinstance(item, dict):  # a metric
        return f"{item['value']:.3f} (chance {item['chance']:.3f})  {item['name']}; {item['dataset']}"
    return str(item)
