"""Finding photos and their sidecars on disk: which files there are, and which folders could not be looked into."""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from hashcli.captions import holds_lines, photos_by_stem
from hashcli.hashmodel.images import photo_suffixes
from hashcli.index.catalog import FileState


@dataclass
class ScannedFiles:
    """What a scan has seen. `files` by absolute path; `sidecars` are those of them that hold texts about a photo, with
    its path; `problems` are folders and files that could not be read.
    """

    files: dict[str, FileState] = field(default_factory=dict)
    sidecars: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def problem(self, path: str, error: OSError) -> None:
        self.problems.append((path, (error.strerror or str(error)).lower()))


def photos_beside(folder: str) -> dict[str, str]:
    """The photos of a folder by the names of their sidecars without .txt; none where it cannot be read."""
    try:
        return photos_by_stem(filter(_is_photo, os.listdir(folder)))
    except OSError:
        return {}


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in photo_suffixes()


def scan(
    roots: Iterable[str], found: ScannedFiles, *, hidden: bool, tick: Callable[[int], None], texts: bool = False
) -> None:
    """Add every photo below some folders to `found`, calling `tick` with the number of files found so far.

    With `texts` also their sidecars; other texts are left alone.

    Hidden files and folders are left out unless `hidden`. Links are followed after everything real, and each folder
    and file is taken once, so that loops end and a photo is known by its real place.
    """
    seen_folders: set[tuple[int, int]] = set()
    seen_files: set[tuple[int, int]] = set()
    links: deque[str] = deque()

    def enter(folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in seen_folders:
                return
            seen_folders.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.problem(folder, error)

    def walk(folder: str) -> None:
        waiting = [folder]
        while waiting:
            below = []
            beside: list[os.DirEntry[str]] = []
            photos = []
            for entry in enter(waiting.pop()):
                if entry.name.startswith(".") and not hidden:
                    continue
                if _is_photo(entry.name):
                    photos.append(entry.name)
                if texts and holds_lines(entry.name) and entry.is_file():
                    beside.append(entry)
                elif entry.is_symlink():
                    links.append(entry.path)
                elif entry.is_dir():
                    below.append(entry.path)
                elif _is_photo(entry.name):
                    take(entry.path, entry.stat)
            take_sidecars(beside, photos)
            waiting.extend(reversed(below))
            tick(len(found.files))

    def take_sidecars(entries: list[os.DirEntry[str]], photos: list[str]) -> None:
        by_stem = photos_by_stem(photos) if entries else {}
        for entry in entries:
            photo = by_stem.get(os.path.splitext(entry.name)[0])
            if photo is not None:
                take(entry.path, entry.stat)
                found.sidecars[entry.path] = os.path.join(os.path.dirname(entry.path), photo)

    def take(path: str, state_of: Callable[[], os.stat_result], *, is_link: bool = False) -> None:
        try:
            state = state_of()
        except FileNotFoundError:  # deleted while we looked, or a link to nothing
            return
        except OSError as error:
            found.problem(path, error)
            return
        inode = (state.st_dev, state.st_ino)
        if stat.S_ISREG(state.st_mode) and not (is_link and inode in seen_files):
            seen_files.add(inode)
            found.files[path] = FileState(state.st_size, state.st_mtime_ns)

    for root in roots:
        walk(root)
    while links:
        link = links.popleft()
        if os.path.isdir(link):
            walk(link)
        elif _is_photo(link):
            take(link, partial(os.stat, link), is_link=True)
