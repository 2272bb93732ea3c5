"""hashcli info: what an index or a hash model holds."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hashcli.cli.common import (
    IndexFolder,
    IndexName,
    Json,
    all_indexes,
    complete_model,
    index_folder,
    printable,
    say,
    write_json,
)

EXAMPLES = """Examples:\n
hashcli info                      the index
hashcli info --all                all your indexes
hashcli info --model lite-256     a hash model, its files checked"""


def run(
    index: IndexFolder = None,
    name: IndexName = None,
    all_: Annotated[bool, typer.Option("--all", help="List the indexes that --name can choose.")] = False,
    model: Annotated[
        str | None,
        typer.Option(autocompletion=complete_model, help="Show this hash model, by name or folder, instead."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what an index, or a hash model, holds."""
    if all_:
        _print_all(json)
        return
    if model is None:
        facts = index_facts(index_folder(index, name))
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
        if key == "texts_from":  # said with their count
            continue
        if key == "texts" and facts["texts_from"]:
            value = f"{value} ({', '.join(f'{count} from {source}' for source, count in facts['texts_from'].items())})"
        for item in value if isinstance(value, list) else [value]:
            print(f"{key:<12} {printable(_line(item))}")


def _print_all(json: bool) -> None:
    from hashcli.errors import HashcliError

    rows = []
    for name, folder in all_indexes().items():
        try:
            rows.append({"name": name} | index_facts(folder))
        except HashcliError as error:
            say(f"skipped {name}: {error.problem}")
    if json:
        for row in rows:
            write_json(row)
        return
    if not rows:
        say("There is no index yet. To make one: hashcli index PATH-OF-PHOTOS, with --name NAME if you want several.")
    columns = ("name", "photos", "texts", "bytes", "index")
    if rows and sys.stdout.isatty():
        print_table(columns, [[printable(str(row[column])) for column in columns] for row in rows])
    else:
        for row in rows:
            print("\t".join(printable(str(row[column])) for column in columns))


def index_facts(folder: Path) -> dict[str, Any]:
    """What an index holds."""
    from hashcli.index.catalog import Catalog, Kind

    with Catalog.open(folder) as catalog:
        model = catalog.model
        return {
            "index": str(folder),
            "photos": catalog.count(Kind.IMAGE),
            "texts": catalog.count(Kind.TEXT),
            "texts_from": catalog.count_texts(),
            "waiting": catalog.count_waiting(),
            "roots": list(catalog.roots()),
            "model": model.source if model else None,
            "fingerprint": model.fingerprint if model else None,
            "bits": model.bits if model else None,
            "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        }


def model_facts(folder: Path) -> dict[str, Any]:
    """What a hash model says of itself."""
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


def print_table(columns: tuple[str, ...], rows: list[list[str]]) -> None:
    """A table as wide as the terminal, for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout).print(table)


def _line(item: Any) -> str:
    if isinstance(item, dict):  # a metric
        return f"{item['value']:.3f} (chance {item['chance']:.3f})  {item['name']}; {item['dataset']}"
    return str(item)
