"""Finding photos and their sidecars on disk: which files there are, and which folders could not be read."""

import os
import stat
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from hashcli.captions import holds_lines, photo_of, photos_by_stem
from hashcli.errors import reason_of
from hashcli.hashmodel.formats import photo_suffixes
from hashcli.index.catalog import FileState
from hashcli.index.files.exclusion import IGNORE_FILE, IgnoreFileError, Rules
from hashcli.index.files.metadata_files import may_be_metadata, metadata_files, with_metadata_files


@dataclass
class ScannedFiles:
    """The files that were found.

    files       the state of each file, by its absolute path
    sidecars    the photo of each of those files that holds texts about a photo
    beside      the metadata files of each of those photos that has some
    problems    (path, reason) of folders and files that could not be read
    left_out    the folders and files that were met and are left out by rules
    inner       the folders that were to be looked out for, and were found in another one
    mounts      the folders that are on another disk than the one they are in, or their link is in, with their devices
    taken       how many files were found besides, which the caller has taken
    """

    files: dict[str, FileState] = field(default_factory=dict)
    sidecars: dict[str, str] = field(default_factory=dict)
    beside: dict[str, list[str]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    inner: set[str] = field(default_factory=set)
    mounts: dict[str, int] = field(default_factory=dict)
    taken: int = 0


def photos_beside(folder: str) -> dict[str, str]:
    """The photos of a folder by the names of their sidecars without .txt; none if it cannot be read."""
    try:
        return photos_by_stem(filter(is_photo, os.listdir(folder)))
    except OSError:
        return {}


def is_photo(name: str) -> bool:
    """Whether a file is a photo, going by its name."""
    return os.path.splitext(name)[1].lower() in photo_suffixes()


def scan(
    folders: Mapping[str, Rules],
    *,
    forgotten: Collection[str] = (),
    hidden: bool = False,
    texts: bool = False,
    take: Callable[[ScannedFiles], Iterable[str]] | None = None,
    look_out_for: Collection[str] = (),
    on_progress: Callable[[int], None] | None = None,
) -> ScannedFiles:
    """Every photo below some folders, and with `texts` also their sidecars; other text files are left alone.

    What the rules of each folder or those of an ignore file in it say is left out, and what was forgotten. Hidden files
    and folders are left out unless `hidden`. Links are followed after everything real, and each folder and file is
    taken once, so that loops end and a photo has its real path. `on_progress` is called with the number of files found
    so far.

    `take` is called with what was found in each folder; the files that it returns are only counted.
    """
    scanner = _Scanner(forgotten, hidden, texts, take or (lambda found: ()), on_progress or (lambda count: None))
    scanner.look_out_for = look_out_for
    for folder, rules in folders.items():
        scanner.walk(folder, rules)
    scanner.follow_links()
    return scanner.found


class _Scanner:
    """One scan: what has been found, what has been visited, and the links that are to be followed at the end."""

    def __init__(
        self,
        forgotten: Collection[str],
        hidden: bool,
        texts: bool,
        take: Callable[[ScannedFiles], Iterable[str]],
        on_progress: Callable[[int], None],
    ) -> None:
        self.found = ScannedFiles()
        self.look_out_for: Collection[str] = ()
        self._forgotten = forgotten
        self._hidden = hidden
        self._texts = texts
        self._take_over = take
        self._on_progress = on_progress
        self._new: list[str] = []  # found, and not yet offered to the caller
        self._visited_folders: set[tuple[int, int]] = set()  # by device and inode
        self._visited_files = _Visited()
        self._links: deque[tuple[str, Rules, int | None]] = deque()

    def walk(self, folder: str, rules: Rules, device: int | None = None) -> None:
        """Take every file in a folder and below; links are put aside. `device` is that of the folder it is in."""
        waiting = [(folder, rules, device)]
        while waiting:
            folder, rules, device = waiting.pop()
            device, entries = self._entries(folder, device)
            rules = self._with_ignore_file(folder, rules, entries)
            subfolders: list[tuple[str, Rules, int | None]] = []
            text_files: list[os.DirEntry[str]] = []
            photos: list[os.DirEntry[str]] = []
            metadata: list[str] = []
            for entry in entries:
                try:
                    of_photo = is_photo(entry.name)
                    if not self._is_wanted(entry, of_photo, rules):
                        continue
                    if of_photo:
                        photos.append(entry)
                    if may_be_metadata(entry.name) and entry.is_file():
                        metadata.append(entry.name)
                    elif self._texts and holds_lines(entry.name) and entry.is_file():
                        text_files.append(entry)
                    elif entry.is_symlink():
                        self._links.append((entry.path, rules, device))
                    elif entry.is_dir():
                        if entry.path in self.look_out_for:
                            self.found.inner.add(entry.path)
                        subfolders.append((entry.path, rules, device))
                except OSError as error:  # a link that leads to itself, or a disk that fails
                    self.found.problems.append((entry.path, reason_of(error)))
            names = [photo.name for photo in photos]
            if metadata:
                for photo, files in metadata_files(names, metadata).items():
                    self.found.beside[os.path.join(folder, photo)] = [os.path.join(folder, name) for name in files]
            for entry in photos:
                if not entry.is_symlink():
                    self._take(entry.path, entry.stat)
            self._take_sidecars(text_files, names)
            self._offer()
            waiting.extend(reversed(subfolders))
            self._on_progress(len(self.found.files) + self.found.taken)

    def follow_links(self) -> None:
        """Take the photos and folders that links lead to, except those that were found already."""
        while self._links:
            link, rules, device = self._links.popleft()
            if os.path.isdir(link):
                self.walk(link, rules, device)
            elif is_photo(link):
                self._take(link, partial(os.stat, link), is_link=True)
        self._offer()

    def _offer(self) -> None:
        found = self.found
        new = ScannedFiles({path: found.files[path] for path in self._new}, found.sidecars, found.beside)
        for path in self._take_over(new):
            del found.files[path]
            found.sidecars.pop(path, None)
            found.beside.pop(path, None)
            found.taken += 1
        self._new.clear()

    def _is_wanted(self, entry: os.DirEntry[str], of_photo: bool, rules: Rules) -> bool:
        """Whether an entry is neither hidden nor left out, and can be of use."""
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
        if not (is_folder or of_photo or holds_lines(entry.name) or may_be_metadata(entry.name)):
            return False
        if entry.path in self._forgotten:
            return False
        if rules.left_out_by(entry.path, is_folder=is_folder):
            self.found.left_out.add(entry.path)
            return False
        return self._hidden or not entry.name.startswith(".")

    def _with_ignore_file(self, folder: str, rules: Rules, entries: Sequence[os.DirEntry[str]]) -> Rules:
        try:
            if any(entry.name == IGNORE_FILE and entry.is_file() for entry in entries):
                return rules.with_ignore_file(folder)
        except (OSError, IgnoreFileError) as error:
            self.found.problems.append((os.path.join(folder, IGNORE_FILE), reason_of(error)))
        return rules

    def _entries(self, folder: str, device: int | None) -> tuple[int | None, list[os.DirEntry[str]]]:
        """The device of a folder, and what is in it, by name; nothing if it was visited before or cannot be read."""
        try:
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in self._visited_folders:
                return state.st_dev, []
            self._visited_folders.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.found.problems.append((folder, reason_of(error)))
            return device, []
        if device not in (None, state.st_dev):
            self.found.mounts[folder] = state.st_dev
        return state.st_dev, found

    def _take_sidecars(self, text_files: list[os.DirEntry[str]], photo_names: list[str]) -> None:
        """Take those text files of a folder that are named after one of its photos."""
        by_stem = photos_by_stem(photo_names) if text_files else {}
        for entry in text_files:
            photo = photo_of(entry.name, by_stem)
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
        inode = hash((state.st_dev, state.st_ino))
        if stat.S_ISREG(state.st_mode) and not (is_link and inode in self._visited_files):
            self._visited_files.add(inode)
            self.found.files[path] = with_metadata_files(FileState.of(state), self.found.beside.get(path, ()))
            self._new.append(path)


class _Visited:
    """A set of numbers of 64 bits. While none has been looked for, which only links need, each takes 8 bytes."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._sorted: np.ndarray | None = None
        self._later: set[int] = set()

    def add(self, number: int) -> None:
        if self._sorted is None:
            self._numbers.append(number)
        else:
            self._later.add(number)

    def __contains__(self, number: int) -> bool:
        if self._sorted is None:
            self._sorted = np.sort(np.array(self._numbers, np.int64))
            self._numbers = array("q")
        place = np.searchsorted(self._sorted, number)
        return number in self._later or bool(place < len(self._sorted) and self._sorted[place] == number)
