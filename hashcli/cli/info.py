"""hashcli info: what an index or a hash model contains."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashcli.cli.console import print_facts, print_table, say, write_json
from hashcli.cli.options import IndexName, IndexOrCollection, Json, complete_model, index_location
from hashcli.json_rows import info_row
from hashcli.printable import human_size, printable

if TYPE_CHECKING:
    from hashcli.index.search import Index

EXAMPLES = """Examples:\n
hashcli info                      the index
hashcli info --all                all your indexes
hashcli info --check              whether anything in the index is damaged
hashcli info --model lite-256     a hash model, after checking its files"""


def run(
    index: IndexOrCollection = None,
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
        from hashcli.index.search import index_at

        location = index_location(index, name, or_collection=True)
        with with_remedies(location), index_at(location) as opened:
            if check:
                opened.check()
            if location.collection:
                facts = _collection_facts(opened)
            else:
                facts = info_row(opened.info()) | ({"check": "nothing is damaged"} if check else {})
    else:
        from hashcli.hashmodel.description import read, verify
        from hashcli.hashmodel.registry import find_model

        folder = find_model(model)
        verify(folder, read(folder))
        facts = model_facts(folder)
    if json:
        write_json(facts)
        return
    if model is not None:
        print_facts(_shown_model(facts))
    else:
        print_facts(_shown_index(facts) if "roots" in facts else _shown_collection(facts))


def _print_all(json: bool) -> None:
    from hashcli.errors import HashcliError
    from hashcli.index.locations import named_indexes
    from hashcli.index.search import Index

    rows = []
    for name, folder in named_indexes().items():
        try:
            with Index(folder) as index:
                rows.append({"name": name} | info_row(index.info()))
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
        shown = ({**row, "bytes": human_size(row["bytes"])} for row in rows)
        cells = [[printable(str(row[column])) for column in columns] for row in shown]
        print_table([column.replace("bytes", "size") for column in columns], cells)
    else:
        for row in rows:
            print("\t".join(printable(str(row[column])) for column in columns))


def _collection_facts(opened: "Index") -> dict[str, Any]:
    from hashcli.index.milvus_index import PublishedIndex

    assert isinstance(opened, PublishedIndex)
    facts = dict(vars(opened.contents()))
    return {"index": facts.pop("address")} | facts


def _shown_collection(facts: dict[str, Any]) -> dict[str, str | list[str]]:
    machines = [f"{machine}: {count}" for machine, count in facts["machines"].items()]
    shown = {"index": facts["index"], "photos": str(facts["photos"]), "texts": str(facts["texts"])}
    search = "approximate: the likeliest part of the codes" if facts["approximate"] else "exact"
    return shown | {"machines": machines, "model": _model_line(facts), "search": search}


def _model_line(facts: dict[str, Any]) -> str:
    return f"{facts['model']} ({facts['bits']} bits, fingerprint {facts['fingerprint']})"


def _shown_index(facts: dict[str, Any]) -> dict[str, str | list[str]]:
    """What the index holds, as people read it."""
    texts = [f"{count} from {source}" for source, count in facts["texts_from"].items()]
    if facts["texts_left_out"]:
        texts.append(f"{facts['texts_left_out']} left out as written by cameras or programs")
    shown = {"index": facts["index"], "photos": str(facts["photos"])}
    shown["texts"] = str(facts["texts"]) + (f" ({', '.join(texts)})" if texts else "")
    if facts["waiting"]:
        shown["waiting"] = f"{facts['waiting']}, known and not encoded yet: the next hashcli index does it"
    if facts["reads_words"]:
        shown["ocr"] = "words in photos are read, until hashcli index --no-ocr"
    lists = {"folders": facts["roots"], "left out": facts["excludes"], "forgotten": facts["forgotten"]}
    model = facts["model"] and _model_line(facts)
    size = {"size": human_size(facts["bytes"])}
    refreshed = {"refreshed": facts["refreshed"][:16].replace("T", " ")} if facts["refreshed"] else {}
    check = {"check": facts["check"]} if "check" in facts else {}
    return shown | lists | {"model": model or "none yet"} | size | refreshed | check


def _shown_model(facts: dict[str, Any]) -> dict[str, str | list[str]]:
    """What the description of a hash model says, but for its metrics, as people read it."""
    shown: dict[str, str | list[str]] = {
        key: str(facts[key]) for key in ("name", "bits", "method", "teacher", "licence", "fingerprint", "folder")
    }
    shown["size"] = f"{facts['megabytes']} MB"
    if facts["metrics"]:
        shown["metrics"] = f"{len(facts['metrics'])} measured: --json shows them"
    return shown


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
