"""The same photo several times in an index: candidates by keys of what they look like, confirmed by a comparison.

1. Files of the same content are one photo.
2. Every photo is read: files that have changed are left out, and keys are made of the picture (see `likeness`).
3. Photos with near keys are candidates; or those with near codes, if a distance of codes is given.
4. Each photo, the best first, takes the candidates into its group that show the same picture (see `likeness`), unless
   EXIF proves that they are different shots (see `shots`).

Codes alone miss too much: of 200 photos of 224 pixels, 23 % of the halved copies and 26 % of the grey ones had a code
within 24 of 256 bits, and different photos with near codes are many.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from hashcli.hashmodel.formats import RAW_SUFFIXES, first_bytes, pillow_formats
from hashcli.hashmodel.images import ORIENTATION_TAG, opened, pixels_of
from hashcli.hashmodel.prefetch import prefetch
from hashcli.index.catalog import Catalog, FileState, IndexedFile
from hashcli.index.contents import Contents
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.paths import is_within_any
from hashcli.index.likeness import KEYS_SHAPE, SIDE, Look, alike_by_keys, keys_of, look_of, same_picture
from hashcli.index.near_codes import near_pairs
from hashcli.index.shots import are_different_shots, shot_of
from hashcli.index.update_callback import UpdateCallback

_KEPT_LOOKS = 1000  # 40 MB


@dataclass(frozen=True)
class DuplicateOptions:
    """What is to be compared, and how.

    folders         compare only the photos in these, `canonical` paths; none: all photos of the index
    max_distance    compare photos whose codes differ in at most this many bits; None: those that look alike
    exact           group only files that are the same byte for byte
    """

    folders: tuple[str, ...] = ()
    max_distance: int | None = None
    exact: bool = False


@dataclass(frozen=True)
class DuplicatePhoto:
    """A photo of a group.

    bytes            the size of the file
    width, height    in pixels, upright; None if the format does not say without decoding
    distance         Hamming distance in bits to the code of the group's first photo
    identical        whether the file is the same, byte for byte, as the first
    """

    path: str
    bytes: int
    width: int | None
    height: int | None
    distance: int
    identical: bool


@dataclass(frozen=True)
class Duplicates:
    """What `find_duplicates` found.

    groups        groups of the same photo, each beginning with the one to keep
    compared      how many photos were considered
    stale         photos left out because they have changed or gone since they were indexed
    unreadable    photos left out because they could not be read
    """

    groups: list[list[DuplicatePhoto]] = field(default_factory=list)
    compared: int = 0
    stale: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Picture:
    """A content as it was found on disk."""

    files: dict[str, IndexedFile]  # those that are as they were indexed, each under one name
    stale: list[str]
    keys: np.ndarray | None = None  # of what it looks like, uint8 [9, 16]; None if it is not to be compared
    is_readable: bool = True


def find_duplicates(
    index_folder: Path, options: DuplicateOptions | None = None, callback: UpdateCallback | None = None
) -> Duplicates:
    """Groups of the same photo, in the order of their first paths.

    Every photo of a group is like its first one. A camera RAW file is never like a file that is not RAW, such as the
    JPEG that was taken with it. Files that are no longer as they were indexed are left out, and so are further names
    of one file. Raises IndexNotFoundError if there is no index.
    """
    options, callback = options or DuplicateOptions(), callback or UpdateCallback()
    with Catalog.open(index_folder) as catalog, catalog.snapshot():
        catalog.check_pages()
        catalog.check_rows()  # for who deletes duplicates
        contents = Contents(catalog, _in_folders(catalog.photos(), options.folders))
        found = Duplicates(compared=contents.photos)
        near_codes = None
        if options.max_distance is not None and not options.exact:
            codes = contents.codes()
            near_codes = near_pairs(codes, options.max_distance, codes[:, None])
        is_wanted = np.full(len(contents), near_codes is None and not options.exact)
        if near_codes is not None:
            is_wanted[near_codes.ravel()] = True
        numbers, keys = _read_all(contents, is_wanted, found, callback)
        pairs = numbers[alike_by_keys(keys)] if near_codes is None else near_codes[np.isin(near_codes, numbers).all(1)]
        groups = _Groups(catalog, contents).of(pairs)
        found.groups.extend(sorted(groups, key=lambda group: group[0].path))
        return found


def _in_folders(photos: Iterable[tuple[str, IndexedFile]], folders: Sequence[str]) -> Iterator[tuple[str, IndexedFile]]:
    """The encoded photos that are in some folders, or all if none is given."""
    resolved = cache(os.path.realpath)  # below a linked folder, an index knows photos by the link's name
    for path, photo in photos:
        parent, name = os.path.split(path)
        if photo.encoded and (not folders or is_within_any(os.path.join(resolved(parent), name), folders)):
            yield path, photo


def _read_all(
    contents: Contents, is_wanted: np.ndarray, found: Duplicates, callback: UpdateCallback
) -> tuple[np.ndarray, np.ndarray]:
    """Read the wanted contents, and look after the files of those that have several.

    Returns the numbers int64 [m] of those that are to be compared, and their keys uint8 [m, 9, 16]. Files that need not
    be looked at are taken to be as they were indexed; others that are not are left out, and so are further names.
    """
    to_read = np.flatnonzero(is_wanted | (contents.counts() > 1))
    callback.planned(len(to_read))
    numbers, keys = array("q"), bytearray()
    files = ((number, contents.files(number)) for number in to_read.tolist())
    read = prefetch(lambda entry: _read(entry[1], is_compared=bool(is_wanted[entry[0]])), files, look_ahead=32)
    for (number, indexed), picture in read:
        if isinstance(picture, Exception):
            raise picture
        contents.leave_out(number, [file for path, file in indexed.items() if path not in picture.files])
        found.stale.extend(picture.stale)
        if not picture.is_readable:
            found.unreadable.append(next(iter(picture.files)))
        if picture.keys is not None:
            numbers.append(number)
            keys += picture.keys.tobytes()
        callback.advanced(1)
    return np.array(numbers, np.int64), np.frombuffer(keys, np.uint8).reshape(-1, *KEYS_SHAPE)


def _read(files: dict[str, IndexedFile], *, is_compared: bool) -> _Picture:
    """Check the files of a content, and make keys of its picture if that is to be compared. Runs in a thread."""
    found = _on_disk(files)
    if not found.files or not is_compared:
        return found
    try:
        look = look_at(next(iter(found.files)))
    except Exception:  # decoders raise nearly anything
        return replace(found, is_readable=False)
    return replace(found, keys=look and keys_of(look[0]))


def _on_disk(indexed: dict[str, IndexedFile]) -> _Picture:
    """The files of a content that are as they were indexed, each under one name only, and those that are stale."""
    files: dict[str, IndexedFile] = {}
    stale: list[str] = []
    inodes: set[tuple[int, int]] = set()
    content = next(iter(indexed.values())).hash
    for path, file in indexed.items():
        try:
            state = os.stat(path)
            is_same = FileState.of(state)[:2] == file.state[:2]
            if is_same and (state.st_dev, state.st_ino) in inodes:
                continue
            if is_same and len(indexed) > 1:  # these will be called the same byte for byte
                is_same = hash_of_content(path) == content
        except OSError:
            is_same = False
        if is_same:
            inodes.add((state.st_dev, state.st_ino))
            files[path] = file
        else:
            stale.append(path)
    return _Picture(files, stale)


def _upright_size(path: str) -> tuple[int, int] | tuple[None, None]:
    try:
        with Image.open(path, formats=pillow_formats(first_bytes(path))) as image:
            width, height = image.size
            return (height, width) if int(image.getexif().get(ORIENTATION_TAG, 1)) > 4 else (width, height)
    except Exception:  # a format that only the loader knows, or damaged EXIF
        return None, None


def look_at(path: str) -> tuple[Look, dict[int, str | float]] | None:
    """A picture at a small size, and what its EXIF says about the shot. Raises UnreadableImageError.

    None for a file of several frames, as the first says too little about them; a JPEG that carries a brightness map or
    a small copy of itself (MPO) is one picture.
    """
    with opened(path) as image:
        if image.format != "MPO" and getattr(image, "is_animated", False):  # to count the frames would take long
            return None
        look = look_of(pixels_of(image, SIDE, "squash"))
        return look, shot_of(image)  # only now: to read its EXIF, Pillow decodes a PNG, with 8 bits of each colour


class _Groups:
    """Puts contents that show the same picture into groups."""

    def __init__(self, catalog: Catalog, contents: Contents) -> None:
        self._catalog = catalog
        self._contents = contents
        self._seen = lru_cache(maxsize=_KEPT_LOOKS)(self._see)

    def of(self, pairs: np.ndarray) -> Iterator[list[DuplicatePhoto]]:
        """The first content that is not yet in a group, the best first, takes all that are like it into its own.

        Only pairs int64 [p, 2] are compared, and the first with whatever is in a pair with one of its group. Comparing
        with the first alone avoids chains, at the end of which a series of photos would be one group.
        """
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        starts = np.searchsorted(both[:, 0], np.arange(len(self._contents) + 1))
        several = np.flatnonzero(self._contents.counts() > 1)
        best_first = self._best_first(np.union1d(pairs.ravel(), several))
        ranks = np.zeros(len(self._contents), np.int64)
        ranks[best_first] = np.arange(len(best_first))
        is_free = np.zeros(len(self._contents), bool)
        is_free[best_first] = True
        for first in best_first.tolist():
            if not is_free[first]:
                continue
            is_free[first] = False
            group, tried, waiting = [first], {first}, [first]
            while waiting:
                number = waiting.pop()
                for other in both[starts[number] : starts[number + 1], 1].tolist():
                    if is_free[other] and other not in tried:
                        tried.add(other)
                        if self._are_same(first, other):
                            is_free[other] = False
                            group.append(other)
                            waiting.append(other)
            photos = self._described(sorted(group, key=ranks.__getitem__))
            if len(photos) > 1:
                yield photos

    def _best_first(self, numbers: np.ndarray) -> np.ndarray:
        """Contents that have files, from the largest picture on, then the largest file, then the oldest."""
        ranks = []
        for number in numbers.tolist():
            if files := self._contents.files(number):
                path, file = next(iter(files.items()))
                width, height = _upright_size(path)
                ranks.append((-(width or 0) * (height or 0), -file.state.size, file.state.mtime_ns, number))
        columns = np.array(ranks, np.int64).reshape(-1, 4).T
        return np.asarray(columns[3, np.lexsort(columns[::-1])])

    def _are_same(self, first: int, second: int) -> bool:
        """Whether two show the same, unless EXIF proves that they are different shots. RAW is never the JPEG of it."""
        ours, theirs = self._seen(first), self._seen(second)
        if ours is None or theirs is None or ours.is_raw != theirs.is_raw:
            return False
        return not are_different_shots(ours.shot, theirs.shot) and same_picture(ours.look, theirs.look)

    def _see(self, number: int) -> "_Sight | None":
        """None if it has gone or changed since the keys were made, or is not to be compared."""
        path = next(iter(self._contents.files(number)))
        try:
            seen = look_at(path)
        except Exception:  # decoders raise nearly anything
            return None
        return seen and _Sight(*seen, is_raw=os.path.splitext(path)[1].lower() in RAW_SUFFIXES)

    def _described(self, group: list[int]) -> list[DuplicatePhoto]:
        files = {number: self._contents.files(number) for number in group}
        if sum(map(len, files.values())) < 2:
            return []
        codes = {number: self._code_of(next(iter(files[number].values()))) for number in group}
        away = {number: int(np.bitwise_count(codes[number] ^ codes[group[0]]).sum()) for number in group}
        return [
            DuplicatePhoto(path, file.state.size, width, height, away[number], number == group[0])
            for number in group
            for width, height in (_upright_size(next(iter(files[number]))),)
            for path, file in files[number].items()
        ]

    def _code_of(self, file: IndexedFile) -> np.ndarray:
        return np.frombuffer(self._catalog.items([file.id])[file.id].code or b"", np.uint8)


@dataclass(frozen=True, eq=False)
class _Sight:
    """A picture at a small size, what its EXIF says about the shot, and whether its file is a camera RAW one."""

    look: Look
    shot: dict[int, str | float]
    is_raw: bool
