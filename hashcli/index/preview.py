"""What an update would do, without doing it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hashcli.errors import reason_of
from hashcli.index.catalog import Catalog
from hashcli.index.catalog_file import FILE_NAME
from hashcli.index.files.changed import ChangedFile
from hashcli.index.files.exclusion import Exclusion
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.plan import IndexedPaths, PlannedFiles, make_plan
from hashcli.index.summary import PlannedChange, UpdateOptions
from hashcli.index.update_callback import UpdateCallback


def preview(
    index_folder: Path,
    paths: Sequence[str],
    options: UpdateOptions | None = None,
    callback: UpdateCallback | None = None,
) -> tuple[list[PlannedChange], list[tuple[str, str]]]:
    """What `update` would do with photos and text files, and the (path, reason) of what it would skip.

    Nothing is written or decoded. A file is read only if it may have been moved, or may have a new time alone; so a
    file whose content cannot be decoded is not among those that would be skipped.
    """
    options, callback = options or UpdateOptions(), callback or UpdateCallback()
    if (index_folder / FILE_NAME).exists():
        with Catalog.open(index_folder) as catalog, catalog.snapshot():
            catalog.check_pages()
            catalog.check_rows()
            plan = make_plan(IndexedPaths.of(catalog, paths, options), paths, options, callback.scanned)
    else:
        indexed = IndexedPaths({}, {}, Exclusion().changed(options.exclude, options.include))
        plan = make_plan(indexed, paths, options, callback.scanned)
    skipped = list(plan.problems)

    def skip(file: ChangedFile, error: OSError) -> None:
        skipped.append((file.path, reason_of(error)))

    changes = [*_changes(plan.photos, skip), *_changes(plan.texts, skip)]
    for path, reason in skipped:
        callback.skipped(path, reason)
    return changes, skipped


def _changes(files: PlannedFiles, skip: Callable[[ChangedFile, OSError], None]) -> Iterator[PlannedChange]:
    missing_sizes = {file.state.size for file in files.missing.values()}
    missing_paths: dict[bytes, list[str]] = {}
    for path, missing in files.missing.items():
        missing_paths.setdefault(missing.hash, []).append(path)
    moved = set()
    for file in files.changed:
        try:
            if file.indexed and _has_only_a_new_time(file):
                continue
            may_have_moved = file.indexed is None and file.state.size in missing_sizes
            sources = missing_paths.get(hash_of_content(file.path)) if may_have_moved else None
        except OSError as error:
            skip(file, error)
            continue
        if sources:
            moved.add(sources[0])
            yield PlannedChange("move", file.path, sources.pop(0))
        else:
            yield PlannedChange("update" if file.indexed else "add", file.path)
    yield from (PlannedChange("remove", path) for path in files.missing if path not in moved)


def _has_only_a_new_time(file: ChangedFile) -> bool:
    """Whether the content of an indexed file is what it was, and a sidecar's photo and the files beside a photo too."""
    before = file.indexed
    if before is None or not before.encoded:
        return False
    if (before.state.size, before.state.beside) != (file.state.size, file.state.beside):
        return False
    return hash_of_content(file.path) == before.hash and before.photo == file.photo
