"""hashcli index: make or refresh an index."""

from typing import Annotated

import typer

from hashcli.cli.common import (
    SKIPPED,
    IndexFolder,
    IndexName,
    Json,
    ProgressReporter,
    index_folder,
    printable,
    say,
    stop_with,
    with_stdin,
    write_json,
)

EXAMPLES = """Examples:\n
hashcli index ~/Pictures          index a folder, or bring it up to date\n
hashcli index                     bring everything indexed before up to date\n
find . -name '*.jpg' | hashcli index -\n
hashcli index --index ./photos/.hashcli ./photos      an index that moves with its photos"""


def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, folders of photos, or - for a list on stdin. Without any: all indexed before."),
    ] = None,
    index: IndexFolder = None,
    name: IndexName = None,
    model: Annotated[
        str | None, typer.Option(help="Hash model, by name or folder.", show_default="the index's own, or lite-256")
    ] = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Encode everything again, also with another model.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Enter hidden folders and take hidden files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the given photos and folders from the index; the files stay.")
    ] = False,
    json: Json = False,
) -> None:
    """Make or refresh an index of photos: only what is new or changed is encoded.

    Files that were moved or renamed keep their codes, those that are gone are removed, and a folder that cannot be
    reached keeps its photos. It can be stopped at any moment: run it again and it goes on.
    """
    from hashcli.index import update
    from hashcli.index.catalog import FILE_NAME

    folder = index_folder(index, name)
    given = [update.canonical(path) for path in with_stdin(paths or [])]
    if not given and (forget or paths or not (folder / FILE_NAME).exists()):
        stop_with("No path was given.", "Name photos or folders of photos: hashcli index ~/Pictures", status=2)
    if forget:
        if dry_run or rehash:
            stop_with("--forget stands alone: it cannot be tried or combined.", status=2)
        dropped = update.forget(folder, given)
        if json:
            write_json({"removed": dropped})
        else:
            say(f"{dropped} photos dropped from the index in {folder}. What lies in an indexed folder comes back.")
        raise typer.Exit(0 if dropped else 1)
    with ProgressReporter("Encoding") as reporter:
        if dry_run:
            changes, left_out = update.preview(folder, given, reporter, rehash=rehash, hidden=hidden)
        else:
            try:
                summary = update.update(folder, given, reporter, model=model, rehash=rehash, hidden=hidden)
            except KeyboardInterrupt:
                stop_with("Stopped. What was encoded is kept.", "To go on, run the same command again.", status=130)
    if dry_run:
        for change in changes:
            if json:
                moved_from = {"moved_from": change.moved_from} if change.moved_from else {}
                write_json({"action": change.action, "path": change.path} | moved_from)
            else:
                source = f"{change.moved_from} -> " if change.moved_from else ""
                print(f"{change.action}\t{printable(source + change.path)}")
        say(f"{len(changes)} changes; nothing was done.")
        raise typer.Exit(SKIPPED if left_out else 0)
    counts = {name: getattr(summary, name) for name in ("added", "updated", "moved", "removed", "unchanged")}
    counts["skipped"] = len(summary.skipped)
    if json:
        write_json(counts)
    else:
        say(", ".join(f"{count} {name}" for name, count in counts.items() if count or name in ("added", "skipped")))
    if summary.skipped:
        raise typer.Exit(SKIPPED)
