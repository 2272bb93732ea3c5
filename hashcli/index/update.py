"""Bringing an index up to date with the disk: only what is new or changed is read and encoded."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashcli.errors import HashcliError, did_you_mean_path, reason_of
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.images import MissingExtraError, UnreadableImageError, check_format, opened
from hashcli.hashmodel.model import IMAGE_BATCH, HashModel
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.hashmodel.registry import DEFAULT_MODEL, find_model
from hashcli.index.catalog import FILE_NAME, Catalog, IndexedFile, IndexedModel, Kind
from hashcli.index.code_index import FaissCodeIndex
from hashcli.index.files.metadata import Metadata, read_metadata
from hashcli.index.files.paths import is_within
from hashcli.index.files.plan import ChangedFile, Files, Plan, everything, hash_of_content, make_plan
from hashcli.index.files.text_files import Text
from hashcli.index.summary import PlannedChange, UpdateCallback, UpdateSummary
from hashcli.index.update_texts import TextUpdate

LOCK = "lock"  # held by the one writer of an index
_OWN_FILE = re.compile(rf"{LOCK}|{re.escape(FILE_NAME)}(-\w+)?|(images|texts)\.(faiss|ids\.npy)(\.tmp)?")


class BusyError(HashcliError):
    """Another process is writing the index."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A photo's content: its hash, its pixels unless the hash tells that the code is known, and its metadata."""

    content_hash: bytes
    pixels: np.ndarray | None
    metadata: Metadata


def update(
    index_folder: Path,
    paths: Sequence[str],
    reporter: UpdateCallback,
    *,
    model: str | None = None,
    rehash: bool = False,
    hidden: bool = False,
    texts: bool = True,
) -> UpdateSummary:
    """Index photos, folders of photos and files of texts, or with no paths everything indexed before, and write the
    derived files. Without `texts`, text files are left alone, and what photos say of themselves is written
    down, but waits to be encoded.

    Every batch is committed as it is encoded, so that a kill costs at most the batch in flight and the next update
    goes on from there. Raises HashcliError when the index cannot be written, is being written, or has another model.
    """
    if not (index_folder / FILE_NAME).exists() and paths and not any(os.path.exists(path) for path in paths):
        raise HashcliError(f"{paths[0]}: no such file or folder.{did_you_mean_path(paths[0])}", "Nothing was indexed.")
    find_model(model or DEFAULT_MODEL)  # before a folder is made for a model that is not there
    _check_own(index_folder)
    with writing(index_folder), Catalog.create_or_open(index_folder) as catalog:
        hash_model, adopt = _choose_model(catalog, model, rehash)
        known = catalog.known(Kind.IMAGE) | catalog.known(Kind.TEXT)
        plan = make_plan(known, catalog.roots(), paths, reporter.scanned, hidden=hidden, rehash=rehash, texts=texts)
        if adopt:
            catalog.set_model(adopt)
        with catalog.transaction():
            for root, device in plan.roots.items():
                catalog.set_root(root, device)
            for root in plan.roots_gone:
                catalog.remove_root(root)
        try:
            return _update(catalog, hash_model, plan, reporter, rehash=rehash, texts=texts)
        finally:  # also when interrupted: what is encoded can be found at once
            refresh_codes(catalog, index_folder)


def _check_own(index_folder: Path) -> None:
    """An index has its folder to itself: whoever deletes it must lose nothing else."""
    if (index_folder / FILE_NAME).exists() or not index_folder.is_dir():
        return
    others = [name for name in os.listdir(index_folder) if not _OWN_FILE.fullmatch(name)]
    if others:
        raise HashcliError(
            f"{index_folder} is no index, and holds other files, {min(others)} for one.",
            f"Give an index a folder of its own, such as {index_folder / '.hashcli'}",
        )


def preview(
    index_folder: Path,
    paths: Sequence[str],
    reporter: UpdateCallback,
    *,
    rehash: bool = False,
    hidden: bool = False,
    texts: bool = True,
) -> tuple[list[PlannedChange], int]:
    """What `update` would do with photos and text files, and how many paths it would skip for not being there.

    Nothing is written or decoded; a file is read only where it may have been moved, or touched without a change.
    """
    known: dict[str, IndexedFile] = {}
    roots: dict[str, int] = {}
    if (index_folder / FILE_NAME).exists():
        with Catalog.open(index_folder) as catalog:
            known, roots = catalog.known(Kind.IMAGE) | catalog.known(Kind.TEXT), catalog.roots()
    plan = make_plan(known, roots, paths, reporter.scanned, hidden=hidden, rehash=rehash, texts=texts)
    skipped = list(plan.problems)
    changes = [*_changes(plan.photos, skipped), *_changes(plan.texts, skipped)]
    for path, reason in skipped:
        reporter.skipped(path, reason)
    return changes, len(skipped)


def _changes(files: Files, skipped: list[tuple[str, str]]) -> Iterator[PlannedChange]:
    sizes = {item.state.size for item in files.missing.values()}
    gone: dict[bytes, list[str]] = {}
    for path, item in files.missing.items():
        gone.setdefault(item.hash, []).append(path)
    moved = set()
    for candidate in files.candidates:
        before = candidate.known
        try:
            if before and before.encoded and before.state.size == candidate.state.size:
                if hash_of_content(candidate.path) == before.hash and before.photo == candidate.photo:
                    continue  # only its time has changed
            elif before is None and candidate.state.size in sizes:
                sources = gone.get(hash_of_content(candidate.path))
                if sources:
                    moved.add(sources[0])
                    yield PlannedChange("move", candidate.path, sources.pop(0))
                    continue
        except OSError as error:
            skipped.append((candidate.path, reason_of(error)))
            continue
        yield PlannedChange("update" if before else "add", candidate.path)
    yield from (PlannedChange("remove", path) for path in files.missing if path not in moved)


def indexed(index_folder: Path) -> list[str]:
    """The folders, and the files given by name, that an update without paths looks at."""
    with Catalog.open(index_folder) as catalog:
        return everything(catalog.known(Kind.IMAGE) | catalog.known(Kind.TEXT), catalog.roots())


def forget(index_folder: Path, paths: Sequence[str]) -> tuple[int, int]:
    """Drop photos, text files and roots at and below the given paths, without looking at the disk.

    Returns how many photos and how many texts.
    """
    Catalog.open(index_folder).close()  # an index that is not there is not made
    with writing(index_folder), Catalog.create_or_open(index_folder) as catalog:
        photos = _below(catalog.known(Kind.IMAGE), paths)
        files = _below(catalog.known(Kind.TEXT), paths)
        texts = catalog.count_all_texts()
        with catalog.changing_items():
            catalog.remove(item.id for item in photos.values())
            for path in [*photos, *files]:
                catalog.remove_texts(path)
            for root in catalog.roots():
                if any(is_within(root, given) for given in paths):
                    catalog.remove_root(root)
        refresh_codes(catalog, index_folder)
        return len(photos), texts - catalog.count_all_texts()


def _below(known: dict[str, IndexedFile], paths: Sequence[str]) -> dict[str, IndexedFile]:
    return {path: item for path, item in known.items() if any(is_within(path, given) for given in paths)}


@contextmanager
def writing(index_folder: Path) -> Iterator[None]:
    """Be the one writer of an index. Raises BusyError at once when there is another."""
    from filelock import FileLock, Timeout

    try:
        index_folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(index_folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"Another hashcli is writing the index in {index_folder}.",
            "Wait until it has finished, then run this again.",
        ) from None
    except OSError as error:
        raise HashcliError(
            f"The index in {index_folder} cannot be written: {error.strerror}.", "Choose another folder with --index."
        ) from error
    try:
        yield
    finally:
        lock.release()


def refresh_codes(catalog: Catalog, index_folder: Path) -> None:
    """Write the derived files anew where they are missing, damaged or not of the catalog's generation."""
    model, generation = catalog.model, catalog.generation
    if model is None:
        return
    for kind in Kind:
        if catalog.count(kind) == 0 and kind is Kind.TEXT:
            continue
        files = FaissCodeIndex(index_folder, kind, model.bits, check_content=True)
        if files.generation != generation:
            try:
                files.replace(*catalog.codes(kind), generation)
            except OSError as error:
                raise HashcliError(
                    f"The search files in {index_folder} cannot be written: {error.strerror}.",
                    "Nothing is lost: free some disk space and run hashcli index again.",
                ) from error


def _choose_model(catalog: Catalog, wanted: str | None, rehash: bool) -> tuple[HashModel, IndexedModel | None]:
    """The model to encode with, and what the catalog is to adopt, if it has another one or none."""
    current = catalog.model
    source = wanted or (current.source if current else DEFAULT_MODEL)
    folder = find_model(source)
    model = HashModel(folder, verify=True)
    if current is not None and model.fingerprint == current.fingerprint:
        return model, None
    if current is not None and not rehash:
        raise HashcliError(
            f"The index was made with {current.source} (fingerprint {current.fingerprint}); "
            f"{model.name} at {folder} is another model ({model.fingerprint}), and their codes cannot be compared.",
            f"To encode everything again: hashcli index --rehash --model {source}",
        )
    is_folder = os.sep in source or Path(source).is_dir()
    return model, IndexedModel(str(folder) if is_folder else source, model.fingerprint, model.bits)


def _update(
    catalog: Catalog, model: HashModel, plan: Plan, reporter: UpdateCallback, *, rehash: bool, texts: bool
) -> UpdateSummary:
    summary = UpdateSummary()
    for path, reason in plan.problems:
        summary.skip(path, reason, reporter)
    text_update = TextUpdate(catalog, [*plan.photos.missing, *plan.texts.missing], summary, reporter, rehash=rehash)
    photos = _PhotoUpdate(catalog, model, plan.photos, text_update, summary, reporter)
    photos.read_and_encode()
    text_update.read_files(plan.texts.candidates)
    if plan.photos.missing or plan.texts.missing:
        with catalog.changing_items():
            photos.remove_missing()
            text_update.remove_missing()
    if texts:
        text_update.encode(model)
    return summary


class _PhotoUpdate:
    """One update of the photos: reads the candidates ahead in threads, encodes them in batches, commits each batch.

    What they say of themselves goes to `texts`.
    """

    def __init__(
        self,
        catalog: Catalog,
        model: HashModel,
        files: Files,
        texts: TextUpdate,
        summary: UpdateSummary,
        reporter: UpdateCallback,
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._candidates = files.candidates
        self._texts = texts
        self._summary = summary
        self._reporter = reporter
        summary.unchanged += files.unchanged
        self._missing_extras: Counter[str] = Counter()
        self._to_remove = {item.id for item in files.missing.values()}
        # Missing items by their content: one that turns up under another name has moved, and has its code already.
        self._movable: dict[bytes, list[int]] = {}
        for item in files.missing.values():
            if item.encoded:
                self._movable.setdefault(item.hash, []).append(item.id)

    def read_and_encode(self) -> None:
        self._reporter.planned(len(self._candidates))
        results = prefetch(self._read, self._candidates, look_ahead=2 * IMAGE_BATCH)
        for batch in batched(results, IMAGE_BATCH):
            pixels = [read.pixels for _, read in batch if isinstance(read, _Read) and read.pixels is not None]
            codes = iter(pack(self._model.encode_pixels(np.stack(pixels))) if pixels else [])
            with self._catalog.changing_items():
                for candidate, result in batch:
                    if isinstance(result, Exception):
                        self._leave_out(candidate, result)
                        continue
                    if result.pixels is None:
                        self._keep_code(candidate, result)
                    else:
                        self._set_code(candidate, result, next(codes))
                    path = candidate.path
                    texts = [Text(None, description, path) for description in result.metadata.descriptions]
                    self._texts.set_texts(path, candidate.state, result.content_hash, texts)
            self._reporter.advanced(len(batch))
        for reason, photos in self._missing_extras.items():
            if photos > 1:
                self._reporter.skipped(f"{photos - 1} more", reason)

    def remove_missing(self) -> None:
        """Drop the missing photos that have not turned up elsewhere. Within a transaction."""
        self._catalog.remove(self._to_remove)
        self._summary.removed += len(self._to_remove)

    def _read(self, candidate: ChangedFile) -> _Read:
        """Runs in a thread; touches nothing but the file."""
        check_format(candidate.path)
        content_hash, known = hash_of_content(candidate.path), candidate.known
        pixels = None
        with opened(candidate.path) as image:
            if content_hash not in self._movable and not _is_encoded(known, content_hash):
                pixels = self._model.pixels_of(image)
            return _Read(content_hash, pixels, read_metadata(image))

    def _set_code(self, candidate: ChangedFile, read: _Read, code: np.ndarray) -> None:
        content = candidate.state, read.content_hash, code, read.metadata.taken
        if candidate.known:
            self._catalog.set_content(candidate.known.id, *content)
            self._summary.updated += 1
        else:
            self._catalog.add_photo(candidate.path, *content)
            self._summary.added += 1

    def _keep_code(self, candidate: ChangedFile, read: _Read) -> None:
        known, path, state, taken = candidate.known, candidate.path, candidate.state, read.metadata.taken
        if known and _is_encoded(known, read.content_hash):  # only its time has changed
            self._catalog.set_place(known.id, path, state, taken)
            self._summary.unchanged += 1
            return
        sources = self._movable[read.content_hash]
        moved = next((id_ for id_ in sources if id_ in self._to_remove), None)
        if known:  # another photo was moved over it
            self._catalog.copy_content(known.id, state, sources[0], taken)
            self._summary.updated += 1
        elif moved is not None:
            self._to_remove.remove(moved)
            self._catalog.set_place(moved, path, state, taken)
            self._summary.moved += 1
        else:  # one more copy of what has moved
            self._catalog.add_copy(sources[0], path, state, taken)
            self._summary.added += 1

    def _leave_out(self, candidate: ChangedFile, error: Exception) -> None:
        reason = reason_of(error)
        if isinstance(error, MissingExtraError):  # there may be thousands: one is named, the others are counted
            self._missing_extras[reason] += 1
            if self._missing_extras[reason] > 1:
                self._summary.skipped.append((candidate.path, reason))
                return
        elif candidate.known and isinstance(error, UnreadableImageError):
            self._catalog.remove([candidate.known.id])  # the content it was encoded from is gone
            self._summary.removed += 1
            self._texts.remove(candidate.path)
        self._summary.skip(candidate.path, reason, self._reporter)


def _is_encoded(known: IndexedFile | None, content_hash: bytes) -> bool:
    return known is not None and known.encoded and known.hash == content_hash
