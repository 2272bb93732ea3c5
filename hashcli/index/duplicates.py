"""Near-identical photos of an index: found by the distance of their codes, believed after a look at the pictures."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hashcli.hashmodel.images import RAW_SUFFIXES, opened, pixels_of
from hashcli.hashmodel.prefetch import prefetch
from hashcli.index.catalog import Catalog, IndexedFile, Kind
from hashcli.index.code_index import neighbours_within
from hashcli.index.files.paths import is_within
from hashcli.index.files.plan import hash_of_content

if TYPE_CHECKING:
    from hashcli.index.summary import UpdateCallback

# Two pictures are the same if their 16 x 16 means, brought to mean 0 and deviation 1, differ by no more than this: as a
# root mean square, and in any one value. On 300 photos and altered copies of them that took in every copy that was
# made smaller, compressed down to quality 30, brightened by a fifth, cropped by 2 % or turned by a degree, and 61 % of
# those cropped by 5 %. It took in none of the 399 pairs of different photos that were most alike of 12,000 whose codes
# are near, and less than half of the copies in which a piece of an eighth of the width had changed its place. Letters
# are too small for it: different pages of text are often the same to it, and so are screenshots of one layout.
_MAX_RMS = 0.32
_MAX_ANYWHERE = 1.25
_CELLS = 16
_PIXELS = 4 * _CELLS
_MIN_DEVIATION = 4.0  # grey levels; below it, a picture is flat, and what differs is noise
_MAX_SHIFT = 4.0  # deviations between the means: a brighter copy is the same picture, a black frame and a white one not

_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class DuplicatePhoto:
    """One member of a group. `distance` is in bits, to the first member; `identical`: the file is the same as its.

    `width` and `height` are in pixels, upright; None where the format does not tell without decoding.
    """

    path: str
    bytes: int
    width: int | None
    height: int | None
    distance: int
    identical: bool


@dataclass
class Duplicates:
    """Groups of photos that are the same, each with the one to keep first; and what could not be compared."""

    groups: list[list[DuplicatePhoto]] = field(default_factory=list)
    compared: int = 0
    stale: list[str] = field(default_factory=list)  # changed or gone since they were indexed
    unreadable: list[str] = field(default_factory=list)


@dataclass(eq=False)
class _Content:
    """Files of the same content, the one to keep first, and what the picture looks like."""

    hash: bytes
    files: dict[str, IndexedFile]
    code: np.ndarray  # packed, uint8 [bits / 8]
    width: int | None = None
    height: int | None = None
    look: np.ndarray | None = None  # uint8 [_CELLS, _CELLS, 3]; None if it is not to be compared

    @property
    def is_raw(self) -> bool:
        return os.path.splitext(next(iter(self.files)))[1].lower() in RAW_SUFFIXES

    def best_first(self) -> tuple[int, int, int, str]:
        """Sorts the largest picture first, then the largest file, the oldest and the path."""
        path, known = next(iter(self.files.items()))
        return -(self.width or 0) * (self.height or 0), -known.state.size, known.state.mtime_ns, path


def default_distance(bits: int) -> int:
    """How far codes of so many bits may be apart to be worth a look: 24 of 256.

    Measured with lite-256 on altered copies of the 15 pictures of scikit-image that have 400 x 500 pixels and more: all
    halved ones lie within it, all of JPEG quality 60, 14 cropped by 5 %, 13 that are brightened by a fifth, and 7 that
    are halved and of quality 60. Of 300 photos of 224 x 224 pixels, fewer than the model reads: 48, 80, 91, 97 and 7 %.
    Of 10,691 different ones of these, 5 % have another one so near, 11 % within 28 bits and 18 % within 32.
    """
    return bits * 3 // 32


def find_duplicates(
    index_folder: Path,
    folders: Sequence[str],
    reporter: "UpdateCallback",
    *,
    max_distance: int | None,
    exact: bool = False,
) -> Duplicates:
    """Groups of the same photo among those in some folders (all, if none is given), in the order of their first paths.

    The folders are `canonical`. Every member of a group is like its first one. With `exact`, only files of the same
    bytes are grouped. A camera RAW file is never like one that is not, as the JPEG that was taken with it.
    Files that are no longer as they were indexed, and further names of one file, are left out.
    Raises HashcliError when there is no index.
    """
    found = Duplicates()
    with Catalog.open(index_folder) as catalog, catalog.snapshot():
        known = {path: item for path, item in catalog.known(Kind.IMAGE).items() if item.encoded}
        ids, codes = catalog.codes(Kind.IMAGE)
        bits = catalog.model.bits if catalog.model else 0
    if folders:
        resolved = cache(os.path.realpath)  # below a linked folder, an index knows files by the link's name

        def is_wanted(path: str) -> bool:
            above, name = os.path.split(path)
            place = os.path.join(resolved(above), name)
            return any(is_within(place, folder) for folder in folders)

        known = {path: item for path, item in known.items() if is_wanted(path)}
    found.compared = len(known)
    contents = _contents(known, dict(zip(ids.tolist(), codes, strict=True)))
    radius = -1 if exact else default_distance(bits) if max_distance is None else max_distance
    near = _with_near(contents, radius, reporter)
    chosen = [content for content in contents if len(content.files) > 1 or content in near]
    reporter.planned(len(chosen))
    for content, seen in prefetch(lambda content: _look_at(content, content in near, found), chosen, look_ahead=32):
        if isinstance(seen, Exception):
            found.unreadable.append(next(iter(content.files)))
        reporter.advanced(1)
    chosen = sorted((content for content in chosen if content.files), key=_Content.best_first)
    found.groups = sorted(_groups(chosen, radius), key=lambda group: group[0].path)
    return found


def _contents(known: dict[str, IndexedFile], codes: dict[int, np.ndarray]) -> list[_Content]:
    contents: dict[bytes, _Content] = {}
    for path, item in sorted(known.items(), key=lambda entry: (entry[1].state.mtime_ns, entry[0])):
        if item.hash in contents:
            contents[item.hash].files[path] = item
        else:
            contents[item.hash] = _Content(item.hash, {path: item}, codes[item.id])
    return list(contents.values())


def _with_near(contents: list[_Content], radius: int, reporter: "UpdateCallback") -> set[_Content]:
    """The contents whose codes have another one within the radius."""
    near: set[_Content] = set()
    if radius < 0 or not contents:
        return near
    for row, (others, _) in enumerate(neighbours_within(np.stack([content.code for content in contents]), radius)):
        if len(others):
            near.add(contents[row])
        if row % 1024 == 0:
            reporter.scanned(row)
    return near


def _look_at(content: _Content, compared: bool, found: Duplicates) -> None:
    """Read what is to be known of the files of a content. Runs in a thread."""
    _keep_true_files(content, found)
    if content.files and (compared or len(content.files) > 1):
        path = next(iter(content.files))
        content.width, content.height = _upright_size(path)
        content.look = _look(path) if compared else None


def _keep_true_files(content: _Content, found: Duplicates) -> None:
    """Drop the files that are not what was indexed, and all names of a file but one."""
    inodes = set()
    several = len(content.files) > 1
    for path, item in list(content.files.items()):
        try:
            state = os.stat(path)
            is_true = (state.st_size, state.st_mtime_ns) == item.state
            if is_true and (state.st_dev, state.st_ino) in inodes:
                del content.files[path]
                continue
            if is_true and several:  # size and time are the same, but it will be said that all bytes are
                is_true = hash_of_content(path) == content.hash
        except OSError:
            is_true = False
        if is_true:
            inodes.add((state.st_dev, state.st_ino))
        else:
            del content.files[path]
            found.stale.append(path)


def _upright_size(path: str) -> tuple[int, int] | tuple[None, None]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if int(image.getexif().get(_ORIENTATION_TAG, 1)) > 4 else (width, height)
    except Exception:  # a format that only the loader knows, or damaged EXIF
        return None, None


def _look(path: str) -> np.ndarray | None:
    """What a picture looks like, uint8 [_CELLS, _CELLS, 3]; None of several frames, the first of which says too little.

    A JPEG that carries a brightness map or a small copy of itself (MPO) is one picture.
    """
    with opened(path) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            return None
        pixels = pixels_of(image, _PIXELS, "squash")
    cells = pixels.reshape(_CELLS, _PIXELS // _CELLS, _CELLS, _PIXELS // _CELLS, 3).mean((1, 3))
    return np.asarray(cells.round(), np.uint8)


def _groups(contents: list[_Content], radius: int) -> Iterator[list[DuplicatePhoto]]:
    """The best content that is not yet in a group takes all that are like it into its own, and so on.

    Comparing with the first alone keeps chains apart: of a series, the last photo may be unlike the first.
    """
    seen = [(content, content.look) for content in contents if content.look is not None]
    looks = np.stack([look for _, look in seen]) if seen else np.empty((0, _CELLS, _CELLS, 3), np.uint8)
    near = neighbours_within(np.stack([content.code for content, _ in seen]), radius) if seen else iter(())
    free = np.ones(len(seen), bool)
    raw = np.array([content.is_raw for content, _ in seen], bool)
    row = -1
    for content in contents:
        members = [(content, 0)]
        if content.look is not None:
            row += 1
            others, distances = next(near)
            if not free[row]:
                continue
            free[row] = False
            order = np.argsort(others)[free[np.sort(others)]]
            others, distances = others[order], distances[order]
            alike = _alike(content.look, looks[others]) & (raw[others] == raw[row])
            free[others[alike]] = False
            pairs = zip(others[alike].tolist(), distances[alike].tolist(), strict=True)
            members += [(seen[other][0], distance) for other, distance in pairs]
        photos = [
            DuplicatePhoto(path, item.state.size, member.width, member.height, distance, member is content)
            for member, distance in members
            for path, item in member.files.items()
        ]
        if len(photos) > 1:
            yield photos


def _alike(look: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether a picture [_CELLS, _CELLS, 3] is the same as each of others [n, _CELLS, _CELLS, 3]: bool [n]."""
    ours, mean, deviation = _normalised(look[None])
    theirs, means, deviations = _normalised(others)
    differences = np.abs(theirs - ours)  # [n, values]
    rms = np.sqrt((differences**2).mean(1))
    shift = np.abs(means - mean) / np.minimum(deviations, deviation)
    return np.asarray((rms <= _MAX_RMS) & (differences.max(1) <= _MAX_ANYWHERE) & (shift <= _MAX_SHIFT))


def _normalised(looks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values [n, values] of mean 0 and deviation 1, and the means [n] and deviations [n] they had."""
    values = looks.reshape(len(looks), _CELLS * _CELLS * 3).astype(np.float32)
    means = values.mean(1)
    deviations = np.maximum(values.std(1), _MIN_DEVIATION)
    return (values - means[:, None]) / deviations[:, None], means, deviations
