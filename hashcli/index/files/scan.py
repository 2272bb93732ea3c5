"""Finding photos and their sidecars on disk: which files there are, and which folders could not be read."""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from hashcli.captions import holds_lines, photos_by_stem
from hashcli.errors import reason_of
from hashcli.hashmodel.formats import photo_suffixes
from hashcli.index.catalog import FileState


@dataclass(frozen=True)
class ScannedFiles:
    """The files that were found.

    files       the state of each file, by its absolute path
    sidecars    the photo of each of those files that holds texts about a photo
    problems    (path, reason) of folders and files that could not be read
    """

    files: dict[str, FileState] = field(default_factory=dict)
    sidecars: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def photos_beside(folder: str) -> dict[str, str]:
    """The photos of a folder by the names of their sidecars without .txt; none if it cannot be read."""
    try:
        return photos_by_stem(filter(_is_photo, os.listdir(folder)))
    except OSError:
        return {}


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in photo_suffixes()


def scan(
    folders: Iterable[str],
    *,
    hidden: bool = False,
    texts: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ScannedFiles:
    """Every photo below some folders, and with `texts` also their sidecars; other text files are left alone.

    Hidden files and folders are left out unless `hidden`. Links are followed after everything real, and each folder
    and file is taken once, so that loops end and a photo has its real path. `on_progress` is called with the
    number of files found so far.
    """
    scanner = _Scanner(hidden, texts, on_progress or (lambda count: None))
    for folder in folders:
        scanner.walk(folder)
    scanner.follow_links()
    return scanner.found


class _Scanner:
    """One scan: what has been found, what has been visited, and the links that are to be followed at the end."""

    def __init__(self, hidden: bool, texts: bool, on_progress: Callable[[int], None]) -> None:
        self.found = ScannedFiles()
        self._hidden = hidden
        self._texts = texts
        self._on_progress = on_progress
        self._visited_folders: set[tuple[int, int]] = set()  # by device and inode
        self._visited_files: set[tuple[int, int]] = set()
        self._links: deque[str] = deque()

    def walk(self, folder: str) -> None:
        """Take every file in a folder and below; links are put aside."""
        waiting = [folder]
        while waiting:
            subfolders: list[str] = []
            text_files: list[os.DirEntry[str]] = []
            photo_names: list[str] = []
            for entry in self._entries(waiting.pop()):
                if entry.name.startswith(".") and not self._hidden:
                    continue
                if _is_photo(entry.name):
                    photo_names.append(entry.name)
                if self._texts and holds_lines(entry.name) and entry.is_file():
                    text_files.append(entry)
                elif entry.is_symlink():
                    self._links.append(entry.path)
                elif entry.is_dir():
                    subfolders.append(entry.path)
                elif _is_photo(entry.name):
                    self._take(entry.path, entry.stat)
            self._take_sidecars(text_files, photo_names)
            waiting.extend(reversed(subfolders))
            self._on_progress(len(self.found.files))

    def follow_links(self) -> None:
        """Take the photos and folders that links lead to, except those that were found already."""
        while self._links:
            link = self._links.popleft()
            if os.path.isdir(link):
                self.walk(link)
            elif _is_photo(link):
                self._take(link, partial(os.stat, link), is_link=True)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What is in a folder, by name; nothing if it was visited before or cannot be read."""
        try:
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in self._visited_folders:
                return
            self._visited_folders.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.found.problems.append((folder, reason_of(error)))

    def _take_sidecars(self, text_files: list[os.DirEntry[str]], photo_names: list[str]) -> None:
        """Take those text files of a folder that are named after one of its photos."""
        by_stem = photos_by_stem(photo_names) if text_files else {}
        for entry in text_files:
            photo = by_stem.get(os.path.splitext(entry.name)[0])
            if photo is not None:
                self._take(entry.path, entry.stat)
                self.found.sidecars[entry.path] = os.path.join(os.path.dirname(entry.path), photo)

    def _take(self, path: str, read_state: Callable[[], os.stat_result], *, is_link: bool = False) -> None:
        try:
            state = read_state()
        except FileNotFoundError:  # deleted since its folder was read, or a link to nothing
            return
        except OSError as error:
            self.found.problems.append((path, reason_of(error)))
            return
        inode = (state.st_dev, state.st_ino)
        if stat.S_ISREG(state.st_mode) and not (is_link and inode in self._visited_files):
            self._visited_files.add(inode)
            self.found.files[path] = FileState(state.st_size, state.st_mtime_ns)
