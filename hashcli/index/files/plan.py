"""What an update has to do: the difference between the disk and the catalog, found without reading any file."""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from hashcli.captions import holds_lines
from hashcli.index.catalog import FileState, IndexedFile
from hashcli.index.files.paths import is_within
from hashcli.index.files.scan import ScannedFiles, photos_beside, scan
from hashcli.index.files.text_files import is_text_file


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that is new or changed; `photo` is what a text file is the sidecar of."""

    path: str
    state: FileState
    known: IndexedFile | None
    photo: str | None = None


@dataclass(frozen=True)
class Files:
    """What there is to do for the files of one kind."""

    candidates: list[ChangedFile]
    missing: dict[str, IndexedFile]  # gone, or moved
    unchanged: int


@dataclass(frozen=True)
class Plan:
    """The difference between the disk and the catalog."""

    photos: Files
    texts: Files
    roots: dict[str, int]  # folders that were looked into, with their devices
    roots_gone: list[str]  # known ones that were deleted from within another
    problems: list[tuple[str, str]]


def make_plan(
    known: Mapping[str, IndexedFile],
    roots: dict[str, int],
    paths: Sequence[str],
    tick: Callable[[int], None],
    *,
    hidden: bool,
    rehash: bool,
    texts: bool = True,
) -> Plan:
    """Compare the disk with the catalog. `known` are its photos and text files; without `texts` these are left alone.

    With `rehash` everything known is looked at, and no photo's code counts as there.
    """
    if rehash:
        known = {path: item if is_text_file(path) else replace(item, encoded=False) for path, item in known.items()}
    if not texts:
        known = {path: item for path, item in known.items() if not is_text_file(path)}
    asked = list(dict.fromkeys([*paths, *(everything(known, roots) if rehash or not paths else [])]))
    found = ScannedFiles()
    folders: dict[str, int] = {}  # to look into, with their devices
    given_files: set[str] = set()
    unreachable = {root for root, device in roots.items() if _is_unreachable(root, device, [*roots, *asked])}
    lost: dict[str, list[str]] = {}  # files that are kept, by the folder that is gone
    beside = cache(photos_beside)
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
                    lost.setdefault(parent, []).append(path)
            elif path not in roots:  # else it was deleted from within another one
                found.problems.append((path, "no such file or folder"))
            continue
        except OSError as error:
            found.problem(path, error)
            continue
        if stat.S_ISDIR(state.st_mode):
            folders[path] = state.st_dev
        elif not stat.S_ISREG(state.st_mode):
            found.problems.append((path, "not a file or a folder"))
        elif is_text_file(path) and not texts:
            found.problems.append((path, "a text file, left out by --no-texts"))
        else:
            given_files.add(path)
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)
            folder, name = os.path.split(path)
            if holds_lines(path) and (photo := beside(folder).get(os.path.splitext(name)[0])):
                found.sidecars[path] = os.path.join(folder, photo)
    scan(folders, found, hidden=hidden, texts=texts, tick=tick)
    for folder, device in folders.items():  # it may have gone while we looked
        if not os.path.isdir(folder) or _is_unreachable(folder, device, [*roots, *asked]):
            unreachable.add(folder)

    for root in unreachable:
        if _is_asked(root, asked):
            lost.setdefault(root, []).extend(path for path in known if is_within(path, root))
    found.problems += [(folder, _not_reachable(lost[folder])) for folder in sorted(lost)]
    missing = {}
    for path, item in known.items():
        if path in found.files or not (path in given_files or any(is_within(path, folder) for folder in folders)):
            continue
        if any(is_within(path, root) for root in unreachable):
            continue
        try:
            state = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            missing[path] = item
        except OSError:
            continue  # in a folder that cannot be read: nothing is known of it, so it stays
        else:
            if not stat.S_ISREG(state.st_mode) or (item.photo and not os.path.exists(item.photo)):
                missing[path] = item
                continue
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)  # hidden now, say, or behind a link
            if item.photo:
                found.sidecars[path] = item.photo
    looked_into = {folder: device for folder, device in folders.items() if folder not in unreachable}
    roots_gone = [
        root
        for root in roots
        if root not in unreachable and not os.path.isdir(root) and any(is_within(root, one) for one in looked_into)
    ]
    return Plan(
        _files(known, found, missing, of_texts=False),
        _files(known, found, missing, of_texts=True),
        looked_into,
        roots_gone,
        found.problems,
    )


def hash_of_content(path: str) -> bytes:
    """128 bits of BLAKE2b over the whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _files(
    known: Mapping[str, IndexedFile], found: ScannedFiles, missing: dict[str, IndexedFile], *, of_texts: bool
) -> Files:
    """The part of what was found, and of what is missing, that is of one kind."""
    candidates, unchanged = [], 0
    for path, state in found.files.items():
        if is_text_file(path) != of_texts:
            continue
        item, photo = known.get(path), found.sidecars.get(path)
        if item and item.state == state and item.encoded and item.photo == photo:
            unchanged += 1
        else:
            candidates.append(ChangedFile(path, state, item, photo))
    return Files(candidates, {path: missing[path] for path in missing if is_text_file(path) == of_texts}, unchanged)


def _not_reachable(kept: Sequence[str]) -> str:
    photos = sum(not is_text_file(path) for path in kept)
    what = [f"{photos} photos"] if photos or not kept else []
    what += ["texts"] if photos < len(kept) else []
    return f"not reachable; its {' and '.join(what)} are kept (--forget drops them)"


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
        inside = any(other != root and is_within(root, other) and os.path.isdir(other) for other in others)
        return not (inside and os.stat(parent).st_dev == device)
    except OSError:
        return True


def _is_asked(root: str, asked: Sequence[str]) -> bool:
    return any(is_within(root, path) for path in asked)


def everything(known: Mapping[str, IndexedFile], roots: dict[str, int]) -> list[str]:
    """All roots, and the files that were given by name."""
    return [*roots, *(path for path in known if not any(is_within(path, root) for root in roots))]
