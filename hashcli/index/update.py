"""Bringing an index up to date with the disk: only what is new or changed is read and encoded."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from hashcli.errors import HashcliError, reason_of
from hashcli.hashmodel.ahead import in_batches, map_ahead
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.images import UnreadableImageError, check_format
from hashcli.hashmodel.model import IMAGE_BATCH, HashModel
from hashcli.hashmodel.registry import DEFAULT_MODEL, find_model
from hashcli.index.catalog import FILE_NAME, Catalog, FileState, Kind, Known, Model
from hashcli.index.hamming import Codes
from hashcli.index.scan import Found, scan


class Reporter(Protocol):
    """Told how an update goes on."""

    def scanned(self, count: int) -> None: ...
    def planned(self, count: int) -> None: ...
    def advanced(self, count: int) -> None: ...
    def skipped(self, path: str, reason: str) -> None: ...


@dataclass(frozen=True)
class Change:
    """What an update would do to one photo."""

    action: str  # "add", "update", "move", "remove"
    path: str
    moved_from: str = ""


@dataclass
class Summary:
    """What an update did. `skipped` are inputs left out, each with its reason.

    A photo that was known keeps its row when it cannot be read now; one whose content is damaged is removed.
    """

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Plan:
    """The difference between the disk and the catalog, before any file is read."""

    candidates: list["_Candidate"]  # new or changed
    missing: dict[str, Known]  # gone, or moved
    unchanged: int
    roots: dict[str, int]  # folders that were looked into, with their devices
    roots_gone: list[str]  # known ones that were deleted from within another
    problems: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: str
    state: FileState
    known: Known | None


@dataclass(frozen=True, slots=True)
class _Read:
    """A candidate's content: its hash, and its pixels unless the hash tells that the code is known already."""

    content_hash: bytes
    pixels: np.ndarray | None


def update(
    index_folder: Path,
    paths: Sequence[str],
    reporter: Reporter,
    *,
    model: str | None = None,
    rehash: bool = False,
    hidden: bool = False,
) -> Summary:
    """Index photos and folders of photos, or with no paths everything indexed before, and write the derived files.

    Every batch is committed as it is encoded, so that a kill costs at most the batch in flight and the next update
    goes on from there. Raises HashcliError when the index cannot be written, is being written, or has another model.
    """
    if not (index_folder / FILE_NAME).exists() and paths and not any(os.path.exists(path) for path in paths):
        raise HashcliError(f"{paths[0]}: no such file or folder.", "Nothing was indexed.")
    find_model(model or DEFAULT_MODEL)  # before a folder is made for a model that is not there
    with writing(index_folder), Catalog.create_or_open(index_folder) as catalog:
        hash_model, adopt = _choose_model(catalog, model, rehash)
        known, roots = catalog.known(Kind.IMAGE), catalog.roots()
        plan = _plan(known, roots, paths, reporter, hidden=hidden, rehash=rehash)
        if adopt:
            catalog.set_model(adopt)
        with catalog.transaction():
            for root, device in plan.roots.items():
                catalog.set_root(root, device)
            for root in plan.roots_gone:
                catalog.remove_root(root)
        try:
            return _Update(catalog, hash_model, plan, reporter).run()
        finally:  # also when interrupted: what is encoded can be found at once
            refresh_codes(catalog, index_folder)


def preview(
    index_folder: Path, paths: Sequence[str], reporter: Reporter, *, rehash: bool = False, hidden: bool = False
) -> tuple[list[Change], int]:
    """What `update` would do, and how many paths it would skip for not being there; photos are not decoded.

    Nothing is written; a file is read only where it may have been moved, or touched without a change.
    """
    known: dict[str, Known] = {}
    roots: dict[str, int] = {}
    if (index_folder / FILE_NAME).exists():
        with Catalog.open(index_folder) as catalog:
            known, roots = catalog.known(Kind.IMAGE), catalog.roots()
    plan = _plan(known, roots, paths, reporter, hidden=hidden, rehash=rehash)
    skipped = list(plan.problems)
    sizes = {item.state.size for item in plan.missing.values()}
    gone: dict[bytes, list[str]] = {}
    for path, item in plan.missing.items():
        gone.setdefault(item.hash, []).append(path)
    changes = []
    for candidate in plan.candidates:
        before = candidate.known
        try:
            if before and before.encoded and before.state.size == candidate.state.size:
                if _content_hash(candidate.path) == before.hash:
                    continue  # only its time has changed
            elif before is None and candidate.state.size in sizes:
                sources = gone.get(_content_hash(candidate.path))
                if sources:
                    changes.append(Change("move", candidate.path, sources.pop(0)))
                    continue
        except OSError as error:
            skipped.append((candidate.path, reason_of(error)))
            continue
        changes.append(Change("update" if before else "add", candidate.path))
    for path, reason in skipped:
        reporter.skipped(path, reason)
    moved = {change.moved_from for change in changes}
    return changes + [Change("remove", path) for path in plan.missing if path not in moved], len(skipped)


def forget(index_folder: Path, paths: Sequence[str]) -> int:
    """Drop photos and roots at and below the given paths, without looking at the disk. Returns how many photos."""
    Catalog.open(index_folder).close()  # an index that is not there is not made
    with writing(index_folder), Catalog.create_or_open(index_folder) as catalog:
        known = catalog.known(Kind.IMAGE)
        gone = [item.id for path, item in known.items() if any(_is_within(path, given) for given in paths)]
        with catalog.changing_items():
            catalog.remove(gone)
            for root in catalog.roots():
                if any(_is_within(root, given) for given in paths):
                    catalog.remove_root(root)
        refresh_codes(catalog, index_folder)
    return len(gone)


@contextmanager
def writing(index_folder: Path) -> Iterator[None]:
    """Be the one writer of an index. Raises HashcliError at once when there is another."""
    from filelock import FileLock, Timeout

    try:
        index_folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(index_folder / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise HashcliError(
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
        if Codes.mapped(index_folder, kind, generation, model.bits, check_content=True) is None:
            try:
                Codes.in_memory(*catalog.codes(kind)).write(index_folder, kind, generation)
            except OSError as error:
                raise HashcliError(
                    f"The search files in {index_folder} cannot be written: {error.strerror}.",
                    "Nothing is lost: free some disk space and run hashcli index again.",
                ) from error


def _choose_model(catalog: Catalog, wanted: str | None, rehash: bool) -> tuple[HashModel, Model | None]:
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
    return model, Model(str(folder) if is_folder else source, model.fingerprint, model.bits)


def _plan(
    known: dict[str, Known],
    roots: dict[str, int],
    paths: Sequence[str],
    reporter: Reporter,
    *,
    hidden: bool,
    rehash: bool,
) -> _Plan:
    """Compare the disk with the catalog. With `rehash` everything known is looked at, and no code counts as there."""
    if rehash:
        known = {path: replace(item, encoded=False) for path, item in known.items()}
    asked = list(dict.fromkeys([*paths, *(_everything(known, roots) if rehash or not paths else [])]))
    found = Found()
    folders: dict[str, int] = {}  # to look into, with their devices
    given_files: set[str] = set()
    unreachable = {root for root, device in roots.items() if _is_unreachable(root, device, [*roots, *asked])}
    lost_files: Counter[str] = Counter()  # photos given by name, by the folder that is gone
    for path in asked:
        if path in unreachable:
            continue
        try:
            state = os.stat(path)
        except FileNotFoundError:
            if path in known:
                parent = os.path.dirname(path)
                if os.path.isdir(parent):
                    given_files.add(path)  # deleted: its folder is there, it is not
                else:
                    lost_files[parent] += 1
            elif path not in roots:  # else it was deleted from within another one
                found.problems.append((path, "no such file or folder"))
            continue
        except OSError as error:
            found.problem(path, error)
            continue
        if stat.S_ISDIR(state.st_mode):
            folders[path] = state.st_dev
        elif stat.S_ISREG(state.st_mode):
            given_files.add(path)
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)
        else:
            found.problems.append((path, "not a file or a folder"))
    scan(folders, found, hidden=hidden, tick=reporter.scanned)
    for folder, device in folders.items():  # it may have gone while we looked
        if not os.path.isdir(folder) or _is_unreachable(folder, device, [*roots, *asked]):
            unreachable.add(folder)

    lost_files.update(
        {root: sum(_is_within(path, root) for path in known) for root in unreachable if _is_asked(root, asked)}
    )
    for folder, kept in sorted(lost_files.items()):
        found.problems.append((folder, f"not reachable; its {kept} photos are kept (--forget drops them)"))
    missing = {}
    for path, item in known.items():
        if path in found.files or not (path in given_files or any(_is_within(path, folder) for folder in folders)):
            continue
        if any(_is_within(path, root) for root in unreachable):
            continue
        try:
            state = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            missing[path] = item
        except OSError:
            continue  # in a folder that cannot be read: nothing is known of it, so it stays
        else:
            if stat.S_ISREG(state.st_mode):  # hidden now, say, or behind a link: still there
                found.files[path] = FileState(state.st_size, state.st_mtime_ns)
            else:
                missing[path] = item
    candidates = [
        _Candidate(path, state, known.get(path))
        for path, state in found.files.items()
        if _needs_reading(known.get(path), state)
    ]
    looked_into = {folder: device for folder, device in folders.items() if folder not in unreachable}
    roots_gone = [
        root
        for root in roots
        if root not in unreachable and not os.path.isdir(root) and any(_is_within(root, one) for one in looked_into)
    ]
    return _Plan(candidates, missing, len(found.files) - len(candidates), looked_into, roots_gone, found.problems)


def _is_unreachable(root: str, device: int, others: Sequence[str]) -> bool:
    """Whether a folder that was indexed is away rather than emptied or deleted: its disk is not mounted, say.

    An empty folder on another disk than before is a mount point left behind. A missing one is believed to be deleted
    only if it lay inside another indexed folder and on the disk that is there now.
    """
    try:
        if os.path.isdir(root):
            return os.stat(root).st_dev != device and not os.listdir(root)
        parent = os.path.dirname(root)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        inside = any(other != root and _is_within(root, other) and os.path.isdir(other) for other in others)
        return not (inside and os.stat(parent).st_dev == device)
    except OSError:
        return True


def _is_asked(root: str, asked: Sequence[str]) -> bool:
    return any(_is_within(root, path) for path in asked)


def _needs_reading(known: Known | None, state: FileState) -> bool:
    return known is None or known.state != state or not known.encoded


def _everything(known: dict[str, Known], roots: dict[str, int]) -> list[str]:
    """All roots, and the photos that were given by name."""
    return [*roots, *(path for path in known if not any(_is_within(path, root) for root in roots))]


class _Update:
    """One update at work: reads the candidates ahead in threads, encodes them in batches, commits each batch."""

    def __init__(self, catalog: Catalog, model: HashModel, plan: _Plan, reporter: Reporter) -> None:
        self._catalog = catalog
        self._model = model
        self._plan = plan
        self._reporter = reporter
        self._summary = Summary(unchanged=plan.unchanged)
        self._to_remove = {item.id for item in plan.missing.values()}
        # Missing items by their content: one that turns up under another name has moved, and has its code already.
        self._movable: dict[bytes, list[int]] = {}
        for item in plan.missing.values():
            if item.encoded:
                self._movable.setdefault(item.hash, []).append(item.id)

    def run(self) -> Summary:
        for path, reason in self._plan.problems:
            self._skip(path, reason)
        self._reporter.planned(len(self._plan.candidates))
        results = map_ahead(self._read, self._plan.candidates, look_ahead=2 * IMAGE_BATCH)
        for batch in in_batches(results, IMAGE_BATCH):
            pixels = [read.pixels for _, read in batch if isinstance(read, _Read) and read.pixels is not None]
            codes = iter(pack(self._model.encode_pixels(np.stack(pixels))) if pixels else [])
            with self._catalog.changing_items():
                for candidate, result in batch:
                    if isinstance(result, Exception):
                        self._leave_out(candidate, result)
                    elif result.pixels is None:
                        self._keep_code(candidate, result.content_hash)
                    else:
                        self._set_code(candidate, result.content_hash, next(codes))
            self._reporter.advanced(len(batch))
        if self._to_remove:
            with self._catalog.changing_items():
                self._catalog.remove(self._to_remove)
            self._summary.removed += len(self._to_remove)
        return self._summary

    def _read(self, candidate: _Candidate) -> _Read:
        """Runs in a thread; touches nothing but the file."""
        check_format(candidate.path)
        content_hash, known = _content_hash(candidate.path), candidate.known
        if content_hash in self._movable or (known and known.encoded and content_hash == known.hash):
            return _Read(content_hash, None)
        return _Read(content_hash, self._model.load_pixels(candidate.path))

    def _set_code(self, candidate: _Candidate, content_hash: bytes, code: np.ndarray) -> None:
        if candidate.known:
            self._catalog.set_content(candidate.known.id, candidate.state, content_hash, code)
            self._summary.updated += 1
        else:
            self._catalog.add_photo(candidate.path, candidate.state, content_hash, code)
            self._summary.added += 1

    def _keep_code(self, candidate: _Candidate, content_hash: bytes) -> None:
        known = candidate.known
        if known and known.encoded and content_hash == known.hash:  # only its time has changed
            self._catalog.set_place(known.id, candidate.path, candidate.state)
            self._summary.unchanged += 1
            return
        sources = self._movable[content_hash]
        moved = next((id_ for id_ in sources if id_ in self._to_remove), None)
        if known:  # another photo was moved over it
            self._catalog.copy_content(known.id, candidate.state, sources[0])
            self._summary.updated += 1
        elif moved is not None:
            self._to_remove.remove(moved)
            self._catalog.set_place(moved, candidate.path, candidate.state)
            self._summary.moved += 1
        else:  # one more copy of what has moved
            self._catalog.add_copy(sources[0], candidate.path, candidate.state)
            self._summary.added += 1

    def _leave_out(self, candidate: _Candidate, error: Exception) -> None:
        if candidate.known and isinstance(error, UnreadableImageError):
            self._catalog.remove([candidate.known.id])  # the content it was encoded from is gone
            self._summary.removed += 1
        self._skip(candidate.path, reason_of(error))

    def _skip(self, path: str, reason: str) -> None:
        self._summary.skipped.append((path, reason))
        self._reporter.skipped(path, reason)


def canonical(path: str) -> str:
    """The absolute path under which an index knows a file or folder: links are resolved, but a file keeps its name."""
    if not os.path.isfile(path):
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def _content_hash(path: str) -> bytes:
    """128 bits of BLAKE2b over the whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
