"""Photos as they are on disk: one, with the type of what it really is, or a selection as a zip or a list."""

import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

from hashcli.hashmodel.formats import UnreadableImageError, first_bytes
from hashcli.hashmodel.images import opened
from hashcli.plain_files import open_plain

MOST_FILES = 1000  # of a selection
MOST_BYTES = 8 << 30
_BLOCK = 1 << 18
_BEGINNINGS = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"\xff\x0a": "image/jxl",
    b"\0\0\0\x0cJXL ": "image/jxl",
}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}
UNKNOWN_TYPE = "application/octet-stream"


def open_photo(path: str) -> tuple[BinaryIO, str]:
    """A photo, opened, and its media type by its content. Raises OSError, and UnreadableImageError for a file that is
    no photo, whatever its name."""
    with opened(path):
        pass
    media_type = media_type_of(first_bytes(path))
    return open_plain(path), media_type


def media_type_of(head: bytes) -> str:
    """The media type of a photo with these first bytes; UNKNOWN_TYPE for formats that no browser shows."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], UNKNOWN_TYPE)
    return next((kind for start, kind in _BEGINNINGS.items() if head.startswith(start)), UNKNOWN_TYPE)


def blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """The content of an opened file, which is closed then."""
    with closing(file):
        while block := file.read(_BLOCK):
            yield block


def zip_of(paths: Sequence[str]) -> Iterator[bytes]:
    """A zip of files, in parts, while it is made. Files that are gone, or are no photos any more, are left out. Raises
    OSError for one that cannot be read to its end: rather no zip than a photo in it that is cut off."""
    stream = _Stream()
    names: set[str] = set()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:  # photos are compressed already
        for path in paths:
            try:
                file, _ = open_photo(path)
            except (OSError, UnreadableImageError):
                continue
            entry = zipfile.ZipInfo(_free_name(path, names), _date_of(file))
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as written:
                for block in blocks_of(file):
                    written.write(block)
                    yield stream.taken()
    yield stream.taken()


def _date_of(file: BinaryIO) -> tuple[int, int, int, int, int, int]:
    """When an opened file was last changed, by the local clock: year, month, day, hour, minute and second, within the
    years that a zip can hold."""
    seconds = min(max(os.fstat(file.fileno()).st_mtime, 0), 2**32)
    return max(time.localtime(seconds)[:6], (1980, 1, 1, 0, 0, 0))


def _free_name(path: str, names: set[str]) -> str:
    """The name of a file in the zip: its own, with a number if that is taken."""
    own = os.fsencode(os.path.basename(path)).decode(errors="replace")
    stem, suffix = os.path.splitext(own)
    name, number = own, 1
    while name.casefold() in names:
        number += 1
        name = f"{stem} ({number}){suffix}"
    names.add(name.casefold())
    return name


class _Stream:
    """Takes what zipfile writes, until it is sent."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, content: bytes) -> int:
        self._parts.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content
