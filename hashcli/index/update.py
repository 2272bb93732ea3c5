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
        summary = Summary(unchanged=plan.unchanged, skipped=list(plan.problems))
        with catalog.transaction():
            for root, device in plan.roots.items():
                catalog.set_root(root, device)
        try:
            _apply(catalog, hash_model, plan, summary, reporter)
        finally:  # also when interrupted: what is encoded can be found at once
            refresh_codes(catalog, index_folder)
    return summary


def preview(index_folder: Path, paths: Sequence[str], reporter: Reporter, *, hidden: bool = False) -> list[Change]:
    """What `update` would do. Nothing is written; files are read only where one may have been moved."""
    known: dict[str, Known] = {}
    roots: dict[str, int] = {}
    hashes: dict[bytes, str] = {}
    if (index_folder / FILE_NAME).exists():
        with Catalog.open(index_folder) as catalog:
            known, roots = catalog.known(Kind.IMAGE), catalog.roots()
            plan = _plan(known, roots, paths, reporter, hidden=hidden)
            hashes = {catalog.hash_of(gone.id): path for path, gone in plan.missing.items()}
    else:
        plan = _plan(known, roots, paths, reporter, hidden=hidden)
    for path, reason in plan.problems:
        reporter.skipped(path, reason)
    sizes = {gone.state.size for gone in plan.missing.values()}
    changes = []
    for candidate in plan.candidates:
        source = None
        if candidate.known is None and candidate.state.size in sizes:
            source = hashes.pop(_content_hash(candidate.path), None)
        action = "move" if source else "update" if candidate.known else "add"
        changes.append(Change(action, candidate.path, source or ""))
    return changes + [Change("remove", path) for path in sorted(hashes.values())]


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
    for path in paths or _everything(known, roots):
        try:
            state = os.stat(path)
        except FileNotFoundError:
            kept = sum(_is_within(item, path) for item in known)
            if path in known and os.path.isdir(os.path.dirname(path)):
                given_files.add(path)  # deleted: its folder is there, it is not
            elif kept or path in roots:
                found.problems.append((path, f"not reachable; its {kept} photos are kept (--forget drops them)"))
            else:
                found.problems.append((path, "no such file or folder"))
            continue
        except OSError as error:
            found.problem(path, error)
            continue
        if stat.S_ISDIR(state.st_mode):
            if roots.get(path, state.st_dev) != state.st_dev and not os.listdir(path):
                found.problems.append(
                    (path, "empty and on another disk than before, as if not mounted; its photos are kept")
                )
                continue
            scanned[path] = state.st_dev
            scan(path, found, hidden=hidden, tick=reporter.scanned)
        elif stat.S_ISREG(state.st_mode):
            given_files.add(path)
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)
        else:
            found.problems.append((path, "not a file or a folder"))

    missing = {}
    for path, item in known.items():
        if path in found.files or not (path in given_files or any(_is_within(path, folder) for folder in scanned)):
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


def _needs_reading(known: Known | None, state: FileState) -> bool:
    return known is None or known.state != state or not known.encoded


def _everything(known: dict[str, Known], roots: dict[str, int]) -> list[str]:
    """All roots, and the photos that were given by name."""
    return [*roots, *(path for path in known if not any(_is_within(path, root) for root in roots))]


def _apply(catalog: Catalog, model: HashModel, plan: _Plan, summary: Summary, reporter: Reporter) -> None:
    missing_by_hash = {catalog.hash_of(item.id): item.id for item in plan.missing.values()}
    waiting = {item.id for item in plan.missing.values()}  # not yet found under another name
    encoded_missing = {item.id for item in plan.missing.values() if item.encoded}

    def read(candidate_and_old_hash: tuple[_Candidate, bytes]) -> _Read:
        candidate, old_hash = candidate_and_old_hash
        content_hash = _content_hash(candidate.path)
        source = missing_by_hash.get(content_hash)
        if content_hash == old_hash or (candidate.known is None and source in encoded_missing):
            return _Read(content_hash, None)
        return _Read(content_hash, model.load_pixels(candidate.path))

    def with_old_hashes() -> Iterator[tuple[_Candidate, bytes]]:
        for candidate in plan.candidates:
            known = candidate.known
            yield candidate, catalog.hash_of(known.id) if known and known.encoded else b""

    reporter.planned(len(plan.candidates))
    for problem in plan.problems:
        reporter.skipped(*problem)
    for batch in in_batches(map_ahead(read, with_old_hashes(), look_ahead=2 * IMAGE_BATCH), IMAGE_BATCH):
        pixels = [result.pixels for _, result in batch if isinstance(result, _Read) and result.pixels is not None]
        codes = iter(pack(model.encode_pixels(np.stack(pixels))) if pixels else [])
        with catalog.changing_items():
            for (candidate, _), result in batch:
                known = candidate.known
                if isinstance(result, Exception):
                    reason = _reason(result)
                    if known and isinstance(result, UnreadableImageError):
                        catalog.remove([known.id])  # its new content has no code, and its old content is gone
                    summary.skipped.append((candidate.path, reason))
                    reporter.skipped(candidate.path, reason)
                elif result.pixels is not None:
                    code = next(codes)
                    if known:
                        catalog.set_content(known.id, candidate.state, result.content_hash, code)
                        summary.updated += 1
                    else:
                        catalog.add(Kind.IMAGE, candidate.path, candidate.state, result.content_hash, code)
                        summary.added += 1
                elif known:
                    catalog.set_place(known.id, candidate.path, candidate.state)  # only its time has changed
                    summary.unchanged += 1
                elif (source := missing_by_hash[result.content_hash]) in waiting:
                    waiting.remove(source)
                    catalog.set_place(source, candidate.path, candidate.state)
                    summary.moved += 1
                else:  # a second copy of what was moved
                    catalog.add_copy(source, candidate.path, candidate.state)
                    summary.added += 1
        reporter.advanced(len(batch))
    if waiting:
        with catalog.changing_items():
            catalog.remove(waiting)
        summary.removed = len(waiting)


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
