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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from hashcli.hashmodel.formats import RAW_SUFFIXES, first_bytes, pillow_formats
from hashcli.hashmodel.images import ORIENTATION_TAG, opened, pixels_of
from hashcli.hashmodel.prefetch import prefetch
from hashcli.index.catalog import Catalog, FileState, IndexedFile, Kind
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.paths import is_within
from hashcli.index.likeness import SIDE, Look, alike_by_keys, keys_of, look_of, same_picture
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
class _Content:
    """Indexed files of the same content, the oldest first."""

    hash: bytes
    files: dict[str, IndexedFile]
    code: np.ndarray  # packed, uint8 [bits / 8]


@dataclass(frozen=True, eq=False)
class _Picture:
    """A content as it was found on disk."""

    content: _Content
    files: dict[str, IndexedFile]  # those that are as they were indexed, each under one name
    stale: list[str]  # the others
    width: int | None = None
    height: int | None = None
    keys: np.ndarray | None = None  # of what it looks like, uint8 [9, 16]; None if it is not to be compared
    is_readable: bool = True

    @property
    def is_raw(self) -> bool:
        return os.path.splitext(next(iter(self.files)))[1].lower() in RAW_SUFFIXES

    def best_first(self) -> tuple[int, int, int, str]:
        """A sort key: the largest picture first, then the largest file, the oldest, and by path."""
        path, file = next(iter(self.files.items()))
        return -(self.width or 0) * (self.height or 0), -file.state.size, file.state.mtime_ns, path


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
        photos = {path: photo for path, photo in catalog.photos().items() if photo.encoded}
        ids, codes = catalog.codes(Kind.IMAGE)
    photos = _in_folders(photos, options.folders)
    contents = _contents(photos, dict(zip(ids.tolist(), codes, strict=True)))
    near_codes = None
    if options.max_distance is not None and contents and not options.exact:
        codes = np.stack([content.code for content in contents])
        near_codes = near_pairs(codes, options.max_distance, codes[:, None], is_exact=True)
    pictures = _read_all(contents, near_codes, options, callback)
    pairs = _near_keys(pictures) if near_codes is None else near_codes
    return Duplicates(
        groups=sorted(_groups(pictures, pairs), key=lambda group: group[0].path),
        compared=len(photos),
        stale=[path for picture in pictures for path in picture.stale],
        unreadable=[next(iter(picture.files)) for picture in pictures if not picture.is_readable],
    )


def _in_folders(photos: dict[str, IndexedFile], folders: Sequence[str]) -> dict[str, IndexedFile]:
    """The photos that are in some folders, or all if none is given."""
    if not folders:
        return photos
    resolved = cache(os.path.realpath)  # below a linked folder, an index knows photos by the link's name

    def is_wanted(path: str) -> bool:
        parent, name = os.path.split(path)
        real_path = os.path.join(resolved(parent), name)
        return any(is_within(real_path, folder) for folder in folders)

    return {path: photo for path, photo in photos.items() if is_wanted(path)}


def _contents(photos: dict[str, IndexedFile], codes: dict[int, np.ndarray]) -> list[_Content]:
    """The different contents of some photos, from the oldest on; `codes` by the ids of photos."""
    contents: dict[bytes, _Content] = {}
    for path, photo in sorted(photos.items(), key=lambda entry: (entry[1].state.mtime_ns, entry[0])):
        if photo.hash in contents:
            contents[photo.hash].files[path] = photo
        else:
            contents[photo.hash] = _Content(photo.hash, {path: photo}, codes[photo.id])
    return list(contents.values())


def _read_all(
    contents: list[_Content], near_codes: np.ndarray | None, options: DuplicateOptions, callback: UpdateCallback
) -> list[_Picture]:
    """The contents as pictures. Files that need not be compared are taken to be as they were indexed."""
    pictures = [_Picture(content, content.files, []) for content in contents]
    is_wanted = np.full(len(contents), near_codes is None and not options.exact)
    if near_codes is not None:
        is_wanted[near_codes.ravel()] = True
    to_read = [number for number, content in enumerate(contents) if is_wanted[number] or len(content.files) > 1]
    callback.planned(len(to_read))
    read = prefetch(lambda number: _read(contents[number], is_compared=bool(is_wanted[number])), to_read, look_ahead=32)
    for number, picture in read:
        if isinstance(picture, Exception):
            raise picture
        pictures[number] = picture
        callback.advanced(1)
    return pictures


def _read(content: _Content, *, is_compared: bool) -> _Picture:
    """Check the files of a content, and make keys of its picture if that is to be compared. Runs in a thread."""
    found = _on_disk(content)
    if not found.files or not is_compared:
        return found
    try:
        look = look_at(next(iter(found.files)))
    except Exception:  # decoders raise nearly anything
        return replace(found, is_readable=False)
    return replace(found, keys=look and keys_of(look[0]))


def _on_disk(content: _Content) -> _Picture:
    """The files of a content that are as they were indexed, each under one name only, and those that are stale."""
    files: dict[str, IndexedFile] = {}
    stale: list[str] = []
    inodes: set[tuple[int, int]] = set()
    for path, file in content.files.items():
        try:
            state = os.stat(path)
            is_same = FileState.of(state)[:2] == file.state[:2]
            if is_same and (state.st_dev, state.st_ino) in inodes:
                continue
            if is_same and len(content.files) > 1:  # these will be called the same byte for byte
                is_same = hash_of_content(path) == content.hash
        except OSError:
            is_same = False
        if is_same:
            inodes.add((state.st_dev, state.st_ino))
            files[path] = file
        else:
            stale.append(path)
    return _Picture(content, files, stale)


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
        shot = shot_of(image)
        return look_of(pixels_of(image, SIDE, "squash")), shot


def _near_keys(pictures: list[_Picture]) -> np.ndarray:
    """Pairs int64 [p, 2] of the numbers of pictures that look alike by their keys."""
    numbers = np.array([number for number, picture in enumerate(pictures) if picture.keys is not None], np.int64)
    if not len(numbers):
        return np.empty((0, 2), np.int64)
    keys = np.stack([keys for picture in pictures if (keys := picture.keys) is not None])
    return np.asarray(numbers[alike_by_keys(keys)])


def _groups(pictures: list[_Picture], pairs: np.ndarray) -> Iterator[list[DuplicatePhoto]]:
    """The first picture that is not yet in a group, the best first, takes all that are like it into its own.

    Only pairs [p, 2] of the pictures' numbers are compared. Comparing with the first alone avoids chains, at the end of
    which a series of photos would be one group.
    """
    candidates: dict[int, list[int]] = {}
    for first, second in pairs.tolist():
        if pictures[first].keys is not None and pictures[second].keys is not None:
            candidates.setdefault(first, []).append(second)
            candidates.setdefault(second, []).append(first)
    sized: list[tuple[_Picture, int]] = []
    for number, picture in enumerate(pictures):
        if picture.files and (len(picture.files) > 1 or number in candidates):
            width, height = _upright_size(next(iter(picture.files)))
            sized.append((replace(picture, width=width, height=height), number))
    sized.sort(key=lambda entry: entry[0].best_first())
    by_number = {number: picture for picture, number in sized}
    ranks = {number: rank for rank, (_, number) in enumerate(sized)}
    is_free = set(by_number)
    compare = _Comparison()
    for picture, number in sized:
        if number not in is_free:
            continue
        is_free.remove(number)
        group = [picture]
        for other in sorted(is_free.intersection(candidates.get(number, ())), key=ranks.__getitem__):
            if compare.are_same(picture, by_number[other]):
                is_free.remove(other)
                group.append(by_number[other])
        photos = [
            DuplicatePhoto(path, file.state.size, member.width, member.height, distance, member is picture)
            for member in group
            for distance in (int(np.bitwise_count(member.content.code ^ picture.content.code).sum()),)
            for path, file in member.files.items()
        ]
        if len(photos) > 1:
            yield photos


class _Comparison:
    """Compares pictures in their files, and keeps the last looks of them."""

    def __init__(self) -> None:
        self._look_at = lru_cache(maxsize=_KEPT_LOOKS)(look_at)

    def are_same(self, first: _Picture, second: _Picture) -> bool:
        """Whether two show the same, unless EXIF proves that they are different shots. RAW is never the JPEG of it."""
        if first.is_raw != second.is_raw:
            return False
        try:
            looks = [self._look_at(next(iter(picture.files))) for picture in (first, second)]
        except Exception:  # one has gone or changed since the keys were made
            return False
        ours, theirs = looks
        if ours is None or theirs is None:
            return False
        return not are_different_shots(ours[1], theirs[1]) and same_picture(ours[0], theirs[0])
