"""Files beside a photo that say something about it: XMP sidecars, and the JSON of Google Takeout.

    dog.xmp, dog.jpg.xmp                         as darktable, digiKam and Lightroom write
    dog.jpg.json                                 Takeout until 2024
    dog.jpg.supplemental-metadata.json           Takeout since

Takeout cuts the name before .json at 46 characters, moves a number (dog(1).jpg) behind it (dog.jpg(1).json), and writes
one file for a photo and its edited version (dog-edited.jpg).
"""

import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from hashcli.captions import photo_of, photos_by_stem
from hashcli.file_names import composed
from hashcli.index.catalog import FileState

_XMP, _JSON = ".xmp", ".json"
_TAKEOUT_CUT = 46  # characters
_TAKEOUT_SUFFIX = "supplemental-metadata"
_NUMBER = r"(\(\d+\))?"
_EDITED = re.compile(
    "(.+)-(edited|effects|smile|mix|bearbeitet|bewerkt|editada|editado|edytowane|modifi\u00e9|modificato|modificata|"
    "muokattu|redigerad|redigeret|redigert|upravené|upraveno|d\u00fczenlendi|szerkesztett|"
    "\u7de8\u96c6\u6e08\u307f|\u7f16\u8f91|\u7de8\u8f2f|\ud3b8\uc9d1\ub428|\u0438\u0437\u043c\u0435\u043d\u0435\u043d\u043e)"
)


def may_be_metadata(name: str) -> bool:
    """Whether a file may say something about a photo beside it, going by its name."""
    return name[-5:].lower().endswith((_XMP, _JSON))


def is_takeout(path: str) -> bool:
    """Whether a metadata file is of Google Takeout, going by its name."""
    return path.lower().endswith(_JSON)


def metadata_files(photos: Sequence[str], others: Iterable[str]) -> dict[str, list[str]]:
    """The names of the metadata files among the `others` of a folder, by the names of the photos they belong to.

    As with other sidecars, dog.xmp belongs to one photo if several are called dog.
    """
    found: dict[str, list[str]] = {}
    by_stem: dict[str, str] | None = None
    by_takeout: dict[tuple[str, str], set[str]] | None = None
    for name in sorted(others):
        if is_takeout(name):
            by_takeout = _by_takeout_name(photos) if by_takeout is None else by_takeout
            for photo in _photos_of_takeout(name[: -len(_JSON)], by_takeout):
                found.setdefault(photo, []).append(name)
        else:
            by_stem = photos_by_stem(photos) if by_stem is None else by_stem
            owner = photo_of(name, by_stem)
            if owner:
                found.setdefault(owner, []).append(name)
    return found


def with_metadata_files(state: FileState, files: Iterable[str]) -> FileState:
    """The state of a photo that has these metadata files. A file that is gone again does not count."""
    states = []
    for path in files:
        try:
            beside = os.stat(path)
        except OSError:
            continue
        states.append((os.path.basename(path), beside.st_size, beside.st_mtime_ns, beside.st_ctime_ns))
    return state._replace(beside=zlib.crc32(ascii(states).encode()) if states else 0)


def metadata_files_in(folder: str, is_photo: Callable[[str], bool]) -> Mapping[str, list[str]]:
    """The paths of the metadata files in a folder, by the paths of their photos; none if it cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    others = list(filter(may_be_metadata, names))
    photos = sorted(filter(is_photo, names)) if others else []
    path = partial(os.path.join, folder)
    return {path(photo): list(map(path, files)) for photo, files in metadata_files(photos, others).items()}


def _by_takeout_name(photos: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    """Photos by what Takeout may call their JSON: its name without number and .json, and the number."""
    found: dict[tuple[str, str], set[str]] = {}
    for photo in photos:
        stem, suffix = os.path.splitext(composed(photo))
        numbered = re.fullmatch(f"(.+?){_NUMBER}", stem, re.DOTALL)
        base, number = (numbered[1], numbered[2] or "") if numbered else (stem, "")
        edited = _EDITED.fullmatch(base)
        names = {(stem + suffix, ""), (base + suffix, number)} | ({(edited[1] + suffix, number)} if edited else set())
        for name, number in names:
            for key in (name, name[:_TAKEOUT_CUT], f"{name}.{_TAKEOUT_SUFFIX}"[:_TAKEOUT_CUT]):
                found.setdefault((key, number), set()).add(photo)
    return found


def _photos_of_takeout(stem: str, by_name: Mapping[tuple[str, str], set[str]]) -> list[str]:
    """The photos that a JSON file is about: one, and perhaps edited versions of it; none if that is not clear."""
    numbered = re.fullmatch(f"(.+?){_NUMBER}", composed(stem), re.DOTALL)
    if not numbered:
        return []
    name, number = numbered[1], numbered[2] or ""
    front, dot, rest = name.rpartition(".")
    names = [name, *([front] if dot and _TAKEOUT_SUFFIX.startswith(rest) else [])]
    photos = next((by_name[key, number] for key in names if (key, number) in by_name), set())
    originals = [photo for photo in photos if not _EDITED.fullmatch(os.path.splitext(_without_number(photo))[0])]
    return sorted(photos) if len(originals) <= 1 else []


def _without_number(photo: str) -> str:
    stem, suffix = os.path.splitext(composed(photo))
    return re.sub(r"\(\d+\)$", "", stem) + suffix
