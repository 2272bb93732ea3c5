"""Thumbnails, made once and kept in the user's cache folder, which stays within a bound."""

import hashlib
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Lock

from hashcli.plain_files import create_plain, read_plain

SIDES = (320, 640, 1600)  # pixels on the longer side
MOST_BYTES = 512 << 20  # of all thumbnails together
_KEPT = 0.8  # of these, once there are too many
_QUALITY = 80


class Thumbnails:
    """Thumbnails of photos, in a folder. Without a folder, or where it cannot be written, each is made anew."""

    def __init__(self, folder: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most = folder, most_bytes
        self._lock = Lock()
        self._bytes: int | None = None  # in the folder, about; None until they have been counted

    def of(self, path: str, side: int) -> tuple[bytes, str]:
        """A thumbnail as WebP, upright and in sRGB, at most `side` pixels on its longer side, and its name in the
        cache, which changes with the photo. Raises as load_thumbnail does."""
        state = os.stat(path)
        name = _name(path, side, state)
        if self._folder is not None:
            with suppress(OSError):
                content = read_plain(self._folder / name)
                os.utime(self._folder / name)  # it has been used
                return content, name
        content = encoded_thumbnail(path, side)
        if self._folder is not None:
            with suppress(OSError):
                self._keep(self._folder, name, content)
        return content, name

    def _keep(self, folder: Path, name: str, content: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = folder / f"{name}.{os.getpid()}.{id(content)}.tmp"
        with create_plain(unfinished) as file:
            file.write(content)
        os.chmod(unfinished, 0o600)
        unfinished.replace(folder / name)
        with self._lock:
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in _files(folder))
            else:
                self._bytes += len(content)
            if self._bytes > self._most:
                self._bytes = _drop_oldest(folder, int(_KEPT * self._most))


def encoded_thumbnail(path: str | os.PathLike[str], side: int) -> bytes:
    """A photo as WebP, at most `side` pixels on its longer side. Raises as load_thumbnail does."""
    from hashcli.hashmodel.images import load_thumbnail

    encoded = BytesIO()
    load_thumbnail(path, side).save(encoded, "WEBP", quality=_QUALITY, method=2)
    return encoded.getvalue()


def _name(path: str, side: int, state: os.stat_result) -> str:
    what = f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ino}\0{side}"
    return hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:40] + ".webp"


def _files(folder: Path) -> list[tuple[int, int, str]]:
    """When each file was last used, its bytes and its path."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                state = entry.stat(follow_symlinks=False)
                found.append((state.st_mtime_ns, state.st_size, entry.path))
    return found


def _drop_oldest(folder: Path, most: int) -> int:
    """Delete the files used the longest ago until the others have at most so many bytes; how many they have."""
    files = sorted(_files(folder))
    left = sum(size for _, size, _ in files)
    for _, size, path in files:
        if left <= most:
            break
        with suppress(OSError):
            os.unlink(path)
            left -= size
    return left
