"""The files that an update is to read, in some 100 bytes each: millions at once are new, or are all encoded again."""

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hashcli.index.catalog import FileState, IndexedFile

_NO_CTIME = -(2**63)


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that is new or may have changed.

    `indexed` is what the index holds of it, None for a new one; `photo` is the photo that a sidecar belongs to now, and
    `beside` are the files beside a photo that say something about it.
    """

    path: str
    state: FileState
    indexed: IndexedFile | None
    photo: str | None = None
    beside: Sequence[str] = ()


class ChangedFiles:
    """A collection of ChangedFile, in the order in which they were added; each is made when it is asked for."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._folder_numbers: dict[str, int] = {}
        self._folder = array("i")
        self._names = _Strings()
        self._states = _States()
        self._beside = _Strings()
        self._photos: dict[int, str] = {}
        self._indexed_as = array("i")  # the place of each in the lists below; -1 for a new file
        self._ids = array("q")
        self._old_states = _States()
        self._hashes = _Strings()
        self._encoded = bytearray()
        self._old_photos: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._folder)

    def __iter__(self) -> Iterator[ChangedFile]:
        for number in range(len(self)):
            folder = self._folders[self._folder[number]]
            path, state = os.path.join(folder, os.fsdecode(self._names[number])), self._states[number]
            names = os.fsdecode(self._beside[number])
            beside = [os.path.join(folder, name) for name in names.split(os.sep)] if names else []
            yield ChangedFile(path, state, self._indexed(self._indexed_as[number]), self._photos.get(number), beside)

    def add(self, path: str, state: FileState, photo: str | None = None, beside: Sequence[str] = ()) -> int:
        """Returns the number of the file, from 0 on. The files `beside` it are in the same folder."""
        folder, name = os.path.split(path)
        if folder not in self._folder_numbers:
            self._folder_numbers[folder] = len(self._folders)
            self._folders.append(folder)
        number = len(self)
        self._folder.append(self._folder_numbers[folder])
        self._names.append(os.fsencode(name))
        self._states.append(state)
        self._beside.append(os.fsencode(os.sep.join(map(os.path.basename, beside))))
        self._indexed_as.append(-1)
        if photo is not None:
            self._photos[number] = photo
        return number

    def set_indexed(self, number: int, file: IndexedFile) -> None:
        """Say what the index holds of a file."""
        place = self._indexed_as[number] = len(self._ids)
        self._ids.append(file.id)
        self._old_states.append(file.state)
        self._hashes.append(file.hash)
        self._encoded.append(file.encoded)
        if file.photo is not None:
            self._old_photos[place] = file.photo

    def _indexed(self, place: int) -> IndexedFile | None:
        if place < 0:
            return None
        state, encoded = self._old_states[place], bool(self._encoded[place])
        return IndexedFile(self._ids[place], state, self._hashes[place], encoded, self._old_photos.get(place))


class _Strings:
    """A list of bytes, one after the other in memory."""

    def __init__(self) -> None:
        self._all = bytearray()
        self._ends = array("q", [0])

    def append(self, value: bytes) -> None:
        self._all += value
        self._ends.append(len(self._all))

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._all[self._ends[number] : self._ends[number + 1]])


class _States:
    """A list of FileState."""

    def __init__(self) -> None:
        self._values = array("q")

    def append(self, state: FileState) -> None:
        ctime_ns = _NO_CTIME if state.ctime_ns is None else state.ctime_ns
        self._values.extend((state.size, state.mtime_ns, ctime_ns, state.beside))

    def __getitem__(self, number: int) -> FileState:
        size, mtime_ns, ctime_ns, beside = self._values[4 * number : 4 * number + 4]
        return FileState(size, mtime_ns, None if ctime_ns == _NO_CTIME else ctime_ns, beside)
