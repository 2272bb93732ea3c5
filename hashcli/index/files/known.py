"""What an index knows of its files, in some 30 bytes each: enough to see on disk that a file has not changed.

An index of ten million photos is updated in a few hundred megabytes, because only files that are new, have changed or
are missing are held as they are.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np

from hashcli.index.catalog import FileState, IndexedFile
from hashcli.index.files.text_files import is_text_file

_UNSEEN, _CHANGED, _UNCHANGED = range(3)


class IndexedFiles(Protocol):
    """The photos and text files of an index by path, each time in the same order. A dict is one."""

    def items(self) -> Iterable[tuple[str, IndexedFile]]: ...


class KnownFiles:
    """The files of an index, which a scan goes through one folder after the other.

    unchanged_photos, unchanged_texts   how many of the files found are as they were when they were read
    """

    def __init__(self, files: IndexedFiles) -> None:
        self._files = files
        paths, states, ids = array("q"), array("q"), array("q")
        for path, file in files.items():
            paths.append(hash(path))
            states.append(_hash(file.state, file.photo) if file.encoded else 0)
            ids.append(file.id)
        hashes = np.array(paths, np.int64)
        del paths
        self._order = np.argsort(hashes).astype(np.uint32)
        self._hashes = hashes[self._order]
        self._states, self._ids = states, ids
        self._seen = np.zeros(len(ids), np.uint8)
        self._with_ctime = array("q"), array("q")
        self.unchanged_photos = self.unchanged_texts = 0

    def __contains__(self, path: str) -> bool:
        return self.places([path])[0] >= 0

    def __len__(self) -> int:
        return len(self._ids)

    def unchanged(self, found: Mapping[str, FileState], photos: Mapping[str, str]) -> list[str]:
        """Those of some files on disk that have not changed; `photos` are those that sidecars belong to now."""
        same = []
        for place, (path, state) in zip(self.places(found), found.items(), strict=True):
            if place < 0 or self._seen[place] == _UNCHANGED:
                same += [path] if place >= 0 else []
            elif self._is_unchanged(place, state, photos.get(path)):
                self._seen[place] = _UNCHANGED
                same.append(path)
                if is_text_file(path):
                    self.unchanged_texts += 1
                else:
                    self.unchanged_photos += 1
            else:
                self._seen[place] = _CHANGED
        return same

    def without_ctime(self) -> Iterable[tuple[int, int]]:
        """(id, ctime now) of unchanged files whose ctime an older hashcli has not recorded."""
        return zip(*self._with_ctime, strict=True)

    def changed(self) -> Iterator[tuple[int, str, IndexedFile]]:
        """The place, path and state of the files that were found to have changed, as the index has them."""
        return self._with_status(_CHANGED)

    def not_found(self) -> Iterator[tuple[str, IndexedFile]]:
        return ((path, file) for _, path, file in self._with_status(_UNSEEN))

    def _with_status(self, status: int) -> Iterator[tuple[int, str, IndexedFile]]:
        is_wanted = self._seen == status
        if is_wanted.any():
            for place, (path, file) in enumerate(self._files.items()):
                if is_wanted[place]:
                    yield place, path, file

    def places(self, paths: Iterable[str]) -> list[int]:
        """The place of each path in the index; -1 for those that are not in it."""
        wanted = np.array([hash(path) for path in paths], np.int64)
        if not len(self._hashes):
            return [-1] * len(wanted)
        at = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        return np.where(self._hashes[at] == wanted, self._order[at].astype(np.int64), -1).tolist()  # type: ignore[no-any-return]

    def _is_unchanged(self, place: int, state: FileState, photo: str | None) -> bool:
        known = self._states[place]
        if known == _hash(state, photo):
            return True
        if state.ctime_ns is None or known != _hash(state._replace(ctime_ns=None), photo):
            return False
        self._with_ctime[0].append(self._ids[place])
        self._with_ctime[1].append(state.ctime_ns)
        return True


def _hash(state: FileState, photo: str | None) -> int:
    return hash((state, photo)) or 1  # 0 is for a photo that waits to be encoded
