"""What an update has to do: the difference between the disk and the catalog, found without reading any file."""

import itertools
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np

from hashcli.captions import holds_lines, photo_of
from hashcli.errors import reason_of
from hashcli.index.catalog import Catalog, FileState, IndexedFile
from hashcli.index.files.changed import ChangedFiles
from hashcli.index.files.exclusion import Exclusion
from hashcli.index.files.known import IndexedFiles, KnownFiles
from hashcli.index.files.metadata_files import may_be_metadata, metadata_files_in, with_metadata_files
from hashcli.index.files.paths import is_within, is_within_any
from hashcli.index.files.scan import ScannedFiles, is_photo, photos_beside, scan
from hashcli.index.files.text_files import is_text_file
from hashcli.index.summary import UpdateOptions

NOT_REACHABLE = "not reachable"  # how the reason begins for a folder that is away, and keeps its items
NO_SUCH_FILE = "no such file or folder"  # the reason for a path that is not there
LEFT_OUT = "left out by the pattern"  # how the reason begins for a file that was named
_NEVER = -1  # a ctime that no file has
TEXTS_LEFT_OUT = "a text file, and texts are left out"


@dataclass(frozen=True)
class _FilesOf:
    """Indexed files that are read anew whenever they are gone through."""

    items: Callable[[], Iterable[tuple[str, IndexedFile]]]


@dataclass(frozen=True)
class IndexedPaths:
    """What an index holds: its photos and text files by path, and its roots with the device each was on; and what it
    leaves out.

    A root is a folder that was given to an update, and that later updates without paths look into. A
    mount is a folder on another disk below such a one, which is not taken for emptied while its disk is away.
    """

    files: IndexedFiles
    roots: Mapping[str, int]
    exclusion: Exclusion = field(default_factory=Exclusion)
    mounts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, catalog: Catalog, named: Sequence[str], options: UpdateOptions) -> "IndexedPaths":
        """What an index holds, and what it is to leave out once these paths have been named, with these options.

        Raises PatternError.
        """
        remembered = Exclusion.remembered(catalog.excludes(), catalog.forgotten())
        exclusion = remembered.changed(options.exclude, options.include).without_named(named)
        return cls(_FilesOf(catalog.files), catalog.roots(), exclusion, catalog.mounts())

    def to_refresh(self) -> list[str]:
        """The paths that an update without paths looks at: all roots, and the files outside them."""
        return [*self.roots, *(path for path, _ in self.files.items() if not is_within_any(path, self.roots))]


@dataclass(frozen=True)
class PlannedFiles:
    """What an update has to do with the photos, or with the text files."""

    changed: ChangedFiles
    missing: dict[str, IndexedFile]  # deleted, or moved to where they will be found as new
    unchanged: int


@dataclass(frozen=True)
class UpdatePlan:
    """The difference between the disk and the catalog."""

    photos: PlannedFiles
    texts: PlannedFiles
    roots: dict[str, int]  # the folders that were scanned, with their devices
    mounts: dict[str, int]  # all that are known now
    deleted_roots: list[str]  # former roots that were deleted from within a folder that is there
    inner_roots: list[str]  # folders, given now or before, that every update finds in another root
    exclusion: Exclusion
    left_out: int  # of the missing ones, those that are left out now
    ctimes: Iterable[tuple[int, int]]  # (id, ctime) of unchanged files for which an older hashcli has not recorded it
    problems: list[tuple[str, str]]  # (path, reason)


@dataclass(frozen=True)
class _RequestedPaths:
    """What is found at the paths that an update was given."""

    folders: dict[str, int]  # with their devices
    found: ScannedFiles  # files given by name
    deleted: set[str]  # indexed files given by name that are gone from a folder that is there
    kept: dict[str, Counter[bool]]  # by folder that is gone: how many photos and (True) text files of it were named


def make_plan(
    indexed: IndexedPaths, paths: Sequence[str], options: UpdateOptions, on_progress: Callable[[int], None]
) -> UpdatePlan:
    """Compare the disk with an index, below the given paths, or below everything indexed if there are none.

    With `options.rehash`, everything indexed is looked at in any case, and no photo counts as encoded.
    `on_progress` is called with the number of files found so far.
    """
    indexed, roots = _with_options(indexed, options), indexed.roots
    requested = list(dict.fromkeys([*paths, *(indexed.to_refresh() if options.rehash or not paths else [])]))
    neighbours = [*roots, *requested]
    disks = {**indexed.mounts, **roots}
    unreachable = {folder for folder, device in disks.items() if _is_unreachable(folder, device, neighbours)}
    known = KnownFiles(indexed.files)
    given = _look_at((path for path in requested if path not in unreachable), known, roots, texts=options.texts)
    around = {*roots, *given.folders}
    _leave_out(given.found, indexed.exclusion.left_out(given.found.files, around))
    difference = _Difference(known)
    difference.take(given.found, may_be_found_again=True)
    scanned = scan(
        {folder: indexed.exclusion.rules_in(folder, around) for folder in given.folders},
        forgotten=indexed.exclusion.forgotten,
        hidden=options.hidden,
        texts=options.texts,
        take=difference.take,
        look_out_for=() if options.hidden else around,  # without it, the next update may not find them
        on_progress=lambda count: on_progress(len(given.found.files) + count),
    )
    folders = given.folders | scanned.mounts
    for folder, device in folders.items():  # its disk may have been removed during the scan
        if not os.path.isdir(folder) or _is_unreachable(folder, device, neighbours):
            unreachable.add(folder)
    scanned_roots = {folder: device for folder, device in given.folders.items() if folder not in unreachable}

    inner = _inner_roots(scanned, {**roots, **given.folders}, scanned_roots) - unreachable
    not_found = {
        path: file
        for path, file in known.not_found()
        if (path in given.deleted or is_within_any(path, scanned_roots)) and not is_within_any(path, unreachable)
    }
    left_out = {path: not_found.pop(path) for path in [*not_found] if _is_left_out(path, not_found[path], scanned)}
    missing, still_there = _look_for(not_found)
    difference.take(still_there)
    missing |= left_out
    problems = [*given.found.problems, *scanned.problems, *still_there.problems]

    away = {root: _counts_below(root, indexed.files) for root in unreachable if is_within_any(root, requested)}
    kept = given.kept | {root: counts for root, counts in away.items() if root in roots or counts}
    return UpdatePlan(
        photos=difference.planned(missing, of_texts=False),
        texts=difference.planned(missing, of_texts=True),
        roots={root: device for root, device in scanned_roots.items() if root not in inner},
        mounts=_mounts(indexed.mounts, scanned_roots, unreachable) | scanned.mounts,
        deleted_roots=_deleted_roots(roots.keys() - unreachable, scanned_roots),
        inner_roots=sorted(inner & roots.keys()),
        exclusion=indexed.exclusion,
        left_out=len(left_out),
        ctimes=known.without_ctime(),
        problems=[*problems, *((folder, _not_reachable(kept[folder])) for folder in sorted(kept))],
    )


def _with_options(indexed: IndexedPaths, options: UpdateOptions) -> IndexedPaths:
    """The index as this update is to see it: perhaps without text files, with photos that are not encoded,
    or with files that have all changed."""

    def items() -> Iterator[tuple[str, IndexedFile]]:
        for path, file in indexed.files.items():
            of_text = is_text_file(path)
            if of_text and not options.texts:
                continue
            if options.rehash and not of_text:
                file = replace(file, encoded=False)
            if options.check_content:
                file = replace(file, state=file.state._replace(ctime_ns=_NEVER))
            yield path, file

    changes = options.rehash or options.check_content or not options.texts
    return replace(indexed, files=_FilesOf(items)) if changes else indexed


def _look_at(paths: Iterable[str], known: KnownFiles, roots: Collection[str], *, texts: bool) -> _RequestedPaths:
    """Tell apart the folders and files that are at some paths, and those that are not there."""
    folders: dict[str, int] = {}
    found = ScannedFiles()
    deleted: set[str] = set()
    kept: dict[str, Counter[bool]] = {}
    photos_in = cache(photos_beside)
    beside = _PhotosWithMetadata()
    for path in paths:
        try:
            state = os.stat(path)
        except FileNotFoundError:
            folder = os.path.dirname(path)
            if path in known and os.path.isdir(folder):
                deleted.add(path)
            elif path in known:
                kept.setdefault(folder, Counter())[is_text_file(path)] += 1
            elif path not in roots:  # a root that is gone and not unreachable was deleted
                found.problems.append((path, NO_SUCH_FILE))
            continue
        except (OSError, ValueError) as error:
            found.problems.append((path, reason_of(error)))
            continue
        if stat.S_ISDIR(state.st_mode):
            folders[path] = state.st_dev
        elif not stat.S_ISREG(state.st_mode):
            found.problems.append((path, "not a file or a folder"))
        elif is_text_file(path) and not texts:
            found.problems.append((path, TEXTS_LEFT_OUT))
        elif photos := beside.photos_of(path):  # a file that says something about them
            for of_it in photos:
                beside.take(of_it, os.stat(of_it), found)
        else:
            beside.take(path, state, found)
            folder, name = os.path.split(path)
            if holds_lines(path) and (photo := photo_of(name, photos_in(folder))):
                found.sidecars[path] = os.path.join(folder, photo)
    return _RequestedPaths(folders, found, deleted, kept)


class _PhotosWithMetadata:
    """The photos of folders that have metadata files beside them; each folder is read once."""

    def __init__(self) -> None:
        self._in = cache(partial(metadata_files_in, is_photo=is_photo))

    def photos_of(self, path: str) -> list[str]:
        """The photos that a metadata file is about; none for another file."""
        if not may_be_metadata(path):
            return []
        return [photo for photo, files in self._in(os.path.dirname(path)).items() if path in files]

    def take(self, path: str, state: os.stat_result, found: ScannedFiles) -> None:
        """Add a file to those that were found, with the metadata files beside it."""
        files = self._in(os.path.dirname(path)).get(path, [])
        if files:
            found.beside[path] = files
        found.files[path] = with_metadata_files(FileState.of(state), files)


def _leave_out(found: ScannedFiles, by_pattern: Mapping[str, str]) -> None:
    """Take files that were given by name out of those found, and say by which pattern each is left out."""
    for path, pattern in by_pattern.items():
        del found.files[path]
        found.problems.append((path, f"{LEFT_OUT} {pattern}"))


def _is_left_out(path: str, file: IndexedFile, scanned: ScannedFiles) -> bool:
    """Whether the scan has left out a file, a folder that it is in, or the photo that a sidecar belongs to."""
    if not scanned.left_out:
        return False
    above = itertools.accumulate(path.split(os.sep), lambda folder, name: folder + os.sep + name)
    return file.photo in scanned.left_out or any(part in scanned.left_out for part in above)


def _look_for(files: Mapping[str, IndexedFile]) -> tuple[dict[str, IndexedFile], ScannedFiles]:
    """Of indexed files that no scan has found: those that are gone, and those that are there.

    A file may be there because it is hidden now, say, or behind a link. One in a folder that cannot be read is neither
    gone nor there.
    """
    missing: dict[str, IndexedFile] = {}
    found = ScannedFiles()
    beside = _PhotosWithMetadata()
    for path, file in files.items():
        try:
            state = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            missing[path] = file
            continue
        except OSError:
            continue
        if not stat.S_ISREG(state.st_mode) or (file.photo and not os.path.exists(file.photo)):
            missing[path] = file
            continue
        beside.take(path, state, found)
        if file.photo:
            found.sidecars[path] = file.photo
    return missing, found


class _Difference:
    """The files on disk that are new or have changed since they were indexed, as far as they have been found."""

    def __init__(self, known: KnownFiles) -> None:
        self._known = known
        self._changed = {False: ChangedFiles(), True: ChangedFiles()}  # by whether they are text files
        self._numbers = np.full(len(known), -1, np.int32)  # in one of these, of each file of the index
        self._taken: set[str] = set()

    def take(self, found: ScannedFiles, *, may_be_found_again: bool = False) -> list[str]:
        """Take all files of these; returns their paths."""
        unchanged = set(self._known.unchanged(found.files, found.sidecars))
        new = [path for path in found.files if path not in unchanged and path not in self._taken]
        for path, place in zip(new, self._known.places(new), strict=True):
            files = self._changed[is_text_file(path)]
            number = files.add(path, found.files[path], found.sidecars.get(path), found.beside.get(path, ()))
            if place >= 0:
                self._numbers[place] = number
        if may_be_found_again:
            self._taken.update(new)
        return list(found.files)

    def planned(self, missing: Mapping[str, IndexedFile], *, of_texts: bool) -> PlannedFiles:
        """What there is to do for the photos, or `of_texts` for the text files, of which these are missing."""
        for place, path, file in self._known.changed():
            if is_text_file(path) == of_texts and self._numbers[place] >= 0:
                self._changed[of_texts].set_indexed(int(self._numbers[place]), file)
        missing = {path: file for path, file in missing.items() if is_text_file(path) == of_texts}
        unchanged = self._known.unchanged_texts if of_texts else self._known.unchanged_photos
        return PlannedFiles(self._changed[of_texts], missing, unchanged)


def _mounts(before: Mapping[str, int], scanned: Collection[str], unreachable: Collection[str]) -> dict[str, int]:
    """The mounts that are known still: what no scan has gone through, and what is away."""
    return {path: before[path] for path in before if path in unreachable or not is_within_any(path, scanned)}


def _deleted_roots(roots: Iterable[str], scanned: Collection[str]) -> list[str]:
    return sorted(root for root in roots if not os.path.isdir(root) and is_within_any(root, scanned))


def _inner_roots(scanned: ScannedFiles, devices: Mapping[str, int], outer: Mapping[str, int]) -> set[str]:
    """The folders that need not be roots, as a scan has found them within `outer` roots. Those that are, or were, on
    another disk have to be: an update must know when that is away."""
    return {
        root
        for root in scanned.inner
        if not is_within_any(root, scanned.mounts)
        and any(devices[root] == outer[one] for one in outer if one != root and is_within(root, one))
    }


def _counts_below(root: str, files: IndexedFiles) -> Counter[bool]:
    """How many photos and (True) how many text files of an index are below a folder."""
    return Counter(is_text_file(path) for path, _ in files.items() if is_within(path, root))


def _not_reachable(kept: Counter[bool]) -> str:
    """Why a folder was left out whose files stay in the index."""
    what = [f"{kept[False]} photos"] if kept[False] or not kept[True] else []
    what += ["texts"] if kept[True] else []
    return f"{NOT_REACHABLE}; its {' and '.join(what)} are kept"


def _is_unreachable(root: str, device: int, others: Sequence[str]) -> bool:
    """Whether a folder that was indexed is away rather than emptied or deleted: its disk is not mounted, say.

    An empty folder on another disk than before is a mount point left behind. A missing folder counts as deleted only
    if it lay inside another one of `others`, on the disk that is there now.
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
