"""Near-identical photos of an index: candidates by the distance of their codes, confirmed by comparing the pictures.

1. Files of the same content are one photo; every photo has the code of its content.
2. Photos whose codes are near another one's are candidates.
3. Candidates are read: files that have changed are left out, and a thumbnail is made of each picture.
4. Each photo, the best first, takes those that are like it by their thumbnails into its group.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from hashcli.hashmodel.formats import RAW_SUFFIXES, first_bytes, pillow_formats
from hashcli.hashmodel.images import ORIENTATION_TAG, opened, pixels_of
from hashcli.hashmodel.prefetch import prefetch
from hashcli.index.catalog import Catalog, FileState, IndexedFile, Kind
from hashcli.index.code_index import neighbours_within
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.paths import is_within
from hashcli.index.update_callback import UpdateCallback

# Two pictures count as the same if their thumbnails (16 x 16 mean colours), brought to mean 0 and deviation 1, differ
# by no more than this: as a root mean square, and in any one value. Of altered copies of 300 photos, this accepts all
# that were made smaller, compressed down to quality 30, brightened by a fifth, cropped by 2 % or turned by a degree,
# and 61 % of those cropped by 5 %. It accepts none of the 399 pairs of different photos that are most alike, of 12,000
# whose codes are near; and less than half of the copies in which a piece of an eighth of the width was moved. Letters
# are too small for it: different pages of text often count as the same, and so do screenshots of one layout.
_MAX_RMS = 0.32
_MAX_ANYWHERE = 1.25
_CELLS = 16  # of a thumbnail, in each direction
_PIXELS = 4 * _CELLS  # that they are averaged from
_MIN_DEVIATION = 4.0  # grey levels; a picture with less is flat, and its differences are noise
_MAX_SHIFT = 4.0  # deviations between the means; a brighter copy is the same picture, but black is not white


@dataclass(frozen=True)
class DuplicateOptions:
    """What is to be compared, and how.

    folders         compare only the photos in these, `canonical` paths; none: all photos of the index
    max_distance    compare photos whose codes differ in at most this many bits; None: `default_distance` of the model
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
    thumbnail: np.ndarray | None = None  # uint8 [_CELLS, _CELLS, 3]; None if it is not to be compared
    is_readable: bool = True

    @property
    def is_raw(self) -> bool:
        return os.path.splitext(next(iter(self.files)))[1].lower() in RAW_SUFFIXES

    def best_first(self) -> tuple[int, int, int, str]:
        """A sort key: the largest picture first, then the largest file, the oldest, and by path."""
        path, file = next(iter(self.files.items()))
        return -(self.width or 0) * (self.height or 0), -file.state.size, file.state.mtime_ns, path


def default_distance(bits: int) -> int:
    """The largest distance of codes of `bits` bits at which photos are compared: 24 of 256.

    Measured with lite-256 on altered copies of the 15 pictures of scikit-image that have 400 x 500 pixels and more: all
    halved ones are within it, all of JPEG quality 60, 14 cropped by 5 %, 13 that are brightened by a fifth, and 7 that
    are halved and of quality 60. Of 300 photos of 224 x 224 pixels, fewer than the model reads: 48, 80, 91, 97 and 7 %.
    Of 10,691 different ones of these, 5 % have another one as near, 11 % within 28 bits and 18 % within 32.
    """
    return bits * 3 // 32


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
        bits = catalog.model.bits if catalog.model else 0
    photos = _in_folders(photos, options.folders)
    contents = _contents(photos, dict(zip(ids.tolist(), codes, strict=True)))
    radius = default_distance(bits) if options.max_distance is None else options.max_distance
    candidates = set() if options.exact else _near_another(contents, radius, callback)

    to_read = [content for content in contents if len(content.files) > 1 or content in candidates]
    callback.planned(len(to_read))
    pictures: list[_Picture] = []
    for _, picture in prefetch(lambda content: _read(content, content in candidates), to_read, look_ahead=32):
        if isinstance(picture, Exception):
            raise picture
        pictures.append(picture)
        callback.advanced(1)
    best_first = sorted((picture for picture in pictures if picture.files), key=_Picture.best_first)
    return Duplicates(
        groups=sorted(_groups(best_first, radius), key=lambda group: group[0].path),
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


def _near_another(contents: list[_Content], radius: int, callback: UpdateCallback) -> set[_Content]:
    """The contents whose codes have another one within the radius."""
    near: set[_Content] = set()
    if not contents:
        return near
    for row, (others, _) in enumerate(neighbours_within(np.stack([content.code for content in contents]), radius)):
        if len(others):
            near.add(contents[row])
        if row % 1024 == 0:
            callback.scanned(row)
    return near


def _read(content: _Content, is_candidate: bool) -> _Picture:
    """Check the files of a content, and read its picture if there is something to compare it with. Runs in a thread."""
    found = _on_disk(content)
    if not found.files or not (is_candidate or len(found.files) > 1):
        return found
    path = next(iter(found.files))
    width, height = _upright_size(path)
    found = replace(found, width=width, height=height)
    if not is_candidate:
        return found
    try:
        return replace(found, thumbnail=thumbnail(path))
    except Exception:  # decoders raise nearly anything
        return replace(found, is_readable=False)


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


def thumbnail(path: str) -> np.ndarray | None:
    """The mean colours of a picture's 16 x 16 cells, uint8 [16, 16, 3]. Raises UnreadableImageError.

    None for a file of several frames, as the first says too little about them; a JPEG that carries a brightness map or
    a small copy of itself (MPO) is one picture.
    """
    with opened(path) as image:
        if image.format != "MPO" and getattr(image, "is_animated", False):  # to count the frames would take long
            return None
        pixels = pixels_of(image, _PIXELS, "squash")
    cells = pixels.reshape(_CELLS, _PIXELS // _CELLS, _CELLS, _PIXELS // _CELLS, 3).mean((1, 3))
    return np.asarray(cells.round(), np.uint8)


def _groups(pictures: list[_Picture], radius: int) -> Iterator[list[DuplicatePhoto]]:
    """The first picture that is not yet in a group takes all that are like it into its own, and so on.

    Comparing with the first alone avoids chains, at the end of which a series of photos would be one group.
    """
    comparable = [picture for picture in pictures if picture.thumbnail is not None]
    members = iter(_members(comparable, radius)) if comparable else iter(())
    for picture in pictures:
        group = [(picture, 0)]
        if picture.thumbnail is not None:
            others = next(members)
            if others is None:
                continue
            group += others
        photos = [
            DuplicatePhoto(path, file.state.size, member.width, member.height, distance, member is picture)
            for member, distance in group
            for path, file in member.files.items()
        ]
        if len(photos) > 1:
            yield photos


def _members(pictures: list[_Picture], radius: int) -> Iterator[list[tuple[_Picture, int]] | None]:
    """For each of some pictures with thumbnails, those that join its group, each with the distance of its code.

    None for a picture that is itself in the group of an earlier one.
    """
    thumbnails = np.stack([picture.thumbnail for picture in pictures if picture.thumbnail is not None])
    is_raw = np.array([picture.is_raw for picture in pictures], bool)
    is_free = np.ones(len(pictures), bool)
    near = neighbours_within(np.stack([picture.content.code for picture in pictures]), radius)
    for row, (others, distances) in enumerate(near):
        if not is_free[row]:
            yield None
            continue
        is_free[row] = False
        order = np.argsort(others)
        order = order[is_free[others[order]]]
        others, distances = others[order], distances[order]
        joins = same_picture(thumbnails[row], thumbnails[others]) & (is_raw[others] == is_raw[row])
        is_free[others[joins]] = False
        joining = zip(others[joins].tolist(), distances[joins].tolist(), strict=True)
        yield [(pictures[other], distance) for other, distance in joining]


def same_picture(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether a thumbnail [16, 16, 3] shows the same picture as each of others [n, 16, 16, 3]: bool [n]."""
    ours, mean, deviation = _normalised(first[None])
    theirs, means, deviations = _normalised(others)
    differences = np.abs(theirs - ours)  # [n, values]
    rms = np.sqrt((differences**2).mean(1))
    shift = np.abs(means - mean) / np.minimum(deviations, deviation)
    return np.asarray((rms <= _MAX_RMS) & (differences.max(1) <= _MAX_ANYWHERE) & (shift <= _MAX_SHIFT))


def _normalised(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values [n, values] of mean 0 and deviation 1, and the means [n] and deviations [n] they had before."""
    values = thumbnails.reshape(len(thumbnails), _CELLS * _CELLS * 3).astype(np.float32)
    means = values.mean(1)
    deviations = np.maximum(values.std(1), _MIN_DEVIATION)
    return (values - means[:, None]) / deviations[:, None], means, deviations
