"""Bringing an index up to date with the disk: only what is new or changed is read and encoded."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from hashcli.errors import HashcliError
from hashcli.hashmodel.ahead import in_batches, map_ahead
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.images import UnreadableImageError
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
    """What an update did, or would do, to one photo."""

    action: str  # "add", "update", "move", "remove"
    path: str
    moved_from: str = ""


@dataclass
class Summary:
    """What an update did. `skipped` are inputs left out, each with its reason; their old rows, if any, are kept."""

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
    roots: dict[str, int]  # folders now known, with their devices
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
    with writing(index_folder), Catalog.create_or_open(index_folder) as catalog:
        hash_model = _adopt_model(catalog, model, rehash)
        plan = _plan(catalog.known(Kind.IMAGE), catalog.roots(), paths, reporter, hidden=hidden)
        with catalog.transaction():
            for root, device in plan.roots.items():
                catalog.set_root(root, device)
            for root in catalog.roots():
                if not os.path.isdir(root) and any(_is_within(root, scanned) for scanned in plan.roots):
                    catalog.remove_root(root)  # a part of a folder that was looked at, and gone from it
        try:
            return _Update(catalog, hash_model, plan, reporter).run()
        finally:  # also when interrupted: what is encoded can be found at once
            refresh_codes(catalog, index_folder)


def preview(index_folder: Path, paths: Sequence[str], reporter: Reporter, *, hidden: bool = False) -> list[Change]:
    """What `update` would do. Nothing is written; files are read only where one may have been moved."""
    known: dict[str, Known] = {}
    roots: dict[str, int] = {}
    if (index_folder / FILE_NAME).exists():
        with Catalog.open(index_folder) as catalog:
            known, roots = catalog.known(Kind.IMAGE), catalog.roots()
    plan = _plan(known, roots, paths, reporter, hidden=hidden)
    for path, reason in plan.problems:
        reporter.skipped(path, reason)
    sizes = {item.state.size for item in plan.missing.values()}
    gone = {item.hash: path for path, item in plan.missing.items()}
    changes = []
    for candidate in plan.candidates:
        moved_from = ""
        if candidate.known is None and candidate.state.size in sizes:
            try:
                moved_from = gone.pop(_content_hash(candidate.path), "")
            except OSError as error:
                reporter.skipped(candidate.path, _reason(error))
                continue
        action = "move" if moved_from else "update" if candidate.known else "add"
        changes.append(Change(action, candidate.path, moved_from))
    moved = {change.moved_from for change in changes}
    return changes + [Change("remove", path) for path in plan.missing if path not in moved]


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


def _adopt_model(catalog: Catalog, wanted: str | None, rehash: bool) -> HashModel:
    """The model to encode with: the index's own, or the wanted one for a new index or with `rehash`."""
    current = catalog.model
    folder = find_model(wanted or (current.source if current else DEFAULT_MODEL))
    model = HashModel(folder, verify=True)
    if current is not None and model.fingerprint != current.fingerprint and not rehash:
        raise HashcliError(
            f"The index was made with {current.source} (fingerprint {current.fingerprint}); "
            f"{model.name} at {folder} is another model ({model.fingerprint}), and their codes cannot be compared.",
            f"To encode everything again: hashcli index --rehash --model {wanted or current.source}",
        )
    if current is None or rehash:
        source = wanted or (current.source if current else DEFAULT_MODEL)
        source = str(folder) if os.sep in source or Path(source).is_dir() else source
        catalog.set_model(Model(source, model.fingerprint, model.bits))
    return model


def _plan(
    known: dict[str, Known], roots: dict[str, int], paths: Sequence[str], reporter: Reporter, *, hidden: bool
) -> _Plan:
    found = Found()
    scanned: dict[str, int] = {}  # folder: device
    given_files: set[str] = set()
    unmounted = {root for root, device in roots.items() if _looks_unmounted(root, device)}
    for path in paths or _everything(known, roots):
        try:
            state = os.stat(path)
        except FileNotFoundError:
            if path in known and os.path.isdir(os.path.dirname(path)):
                given_files.add(path)  # deleted: its folder is there, it is not
            elif kept := sum(_is_within(item, path) for item in known):
                found.problems.append((path, f"not reachable; its {kept} photos are kept (--forget drops them)"))
            else:
                found.problems.append((path, "no such file or folder"))
            continue
        except OSError as error:
            found.problem(path, error)
            continue
        if stat.S_ISDIR(state.st_mode):
            if path in unmounted:
                continue
            scanned[path] = state.st_dev
            scan(path, found, hidden=hidden, tick=reporter.scanned)
        elif stat.S_ISREG(state.st_mode):
            given_files.add(path)
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)
        else:
            found.problems.append((path, "not a file or a folder"))

    for root in sorted(unmounted):
        if any(_is_within(root, asked) for asked in paths or roots):
            found.problems.append((root, "empty and on another disk than before: not mounted? Its photos are kept"))
    missing = {}
    for path, item in known.items():
        if path in found.files or not (path in given_files or any(_is_within(path, folder) for folder in scanned)):
            continue
        if any(_is_within(path, root) for root in unmounted):
            continue
        try:
            state = os.stat(path)  # hidden now, say, or listed by name: still there
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            missing[path] = item
        except OSError:
            continue  # in a folder that cannot be read: nothing is known of it, so it stays
    candidates = [
        _Candidate(path, state, known.get(path))
        for path, state in found.files.items()
        if _needs_reading(known.get(path), state)
    ]
    return _Plan(candidates, missing, len(found.files) - len(candidates), scanned, found.problems)


def _looks_unmounted(root: str, device: int) -> bool:
    """Whether a folder is there, but empty and on another disk than when it was indexed: a mount point left behind."""
    try:
        return os.stat(root).st_dev != device and not os.listdir(root)
    except OSError:
        return False


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
            self._summary.removed = len(self._to_remove)
        return self._summary

    def _read(self, candidate: _Candidate) -> _Read:
        """Runs in a thread; touches nothing but the file."""
        content_hash, known = _content_hash(candidate.path), candidate.known
        if content_hash in self._movable if known is None else known.encoded and content_hash == known.hash:
            return _Read(content_hash, None)
        return _Read(content_hash, self._model.load_pixels(candidate.path))

    def _set_code(self, candidate: _Candidate, content_hash: bytes, code: np.ndarray) -> None:
        if candidate.known:
            self._catalog.set_content(candidate.known.id, candidate.state, content_hash, code)
            self._summary.updated += 1
        else:
            self._catalog.add(Kind.IMAGE, candidate.path, candidate.state, content_hash, code)
            self._summary.added += 1

    def _keep_code(self, candidate: _Candidate, content_hash: bytes) -> None:
        if candidate.known:  # only its time has changed
            self._catalog.set_place(candidate.known.id, candidate.path, candidate.state)
            self._summary.unchanged += 1
            return
        sources = self._movable[content_hash]
        moved = next((id_ for id_ in sources if id_ in self._to_remove), None)
        if moved is not None:
            self._to_remove.remove(moved)
            self._catalog.set_place(moved, candidate.path, candidate.state)
            self._summary.moved += 1
        else:  # one more copy of what has moved
            self._catalog.add_copy(sources[0], candidate.path, candidate.state)
            self._summary.added += 1

    def _leave_out(self, candidate: _Candidate, error: Exception) -> None:
        if candidate.known and isinstance(error, UnreadableImageError):
            self._catalog.remove([candidate.known.id])  # the content it was encoded from is gone
        self._skip(candidate.path, _reason(error))

    def _skip(self, path: str, reason: str) -> None:
        self._summary.skipped.append((path, reason))
        self._reporter.skipped(path, reason)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def canonical(path: str) -> str:
    """The absolute path under which an index knows a file or folder: links above it resolved, its own name kept."""
    if os.path.isdir(path):
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def _content_hash(path: str) -> bytes:
    """128 bits of BLAKE2b over the whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
