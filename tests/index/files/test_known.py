"""What an index knows of its files: which have changed, and how little memory that takes."""

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from hashcli.index.catalog import FileState, IndexedFile
from hashcli.index.files.known import KnownFiles
from hashcli.index.files.plan import IndexedPaths, make_plan
from hashcli.index.summary import UpdateOptions

STATE = FileState(1, 2, 3)


def indexed(id_: int = 1, state: FileState = STATE, encoded: bool = True, photo: str | None = None) -> IndexedFile:
    return IndexedFile(id_, state, b"hash", encoded, photo)


def test_each_file_is_unchanged_changed_new_or_not_found() -> None:
    files = {
        "/same.jpg": indexed(),
        "/other.jpg": indexed(),
        "/waiting.jpg": indexed(encoded=False),
        "/gone.jpg": indexed(),
        "/same.txt": indexed(photo="/same.jpg"),
        "/moved.txt": indexed(photo="/other.jpg"),
    }
    known = KnownFiles(files)
    found = {
        "/same.jpg": STATE,
        "/other.jpg": STATE._replace(ctime_ns=4),
        "/waiting.jpg": STATE,
        "/same.txt": STATE,
        "/moved.txt": STATE,
        "/new.jpg": STATE,
    }
    photos = {"/same.txt": "/same.jpg", "/moved.txt": "/new.jpg"}
    assert known.unchanged(found, photos) == ["/same.jpg", "/same.txt"]
    assert known.unchanged({"/same.jpg": STATE}, {}) == ["/same.jpg"]  # found once more, and counted once
    assert (known.unchanged_photos, known.unchanged_texts) == (1, 1)
    changed = [(1, "/other.jpg"), (2, "/waiting.jpg"), (5, "/moved.txt")]
    assert list(known.changed()) == [(place, path, files[path]) for place, path in changed]
    assert dict(known.not_found()) == {"/gone.jpg": files["/gone.jpg"]}
    assert "/gone.jpg" in known
    assert "/new.jpg" not in known
    assert "/new.jpg" not in KnownFiles({})
    assert list(known.without_ctime()) == []


def test_a_ctime_that_was_not_known_is_learnt() -> None:
    known = KnownFiles({"/a.jpg": indexed(7, FileState(1, 2, None)), "/b.jpg": indexed(8, FileState(1, 9, None))})
    assert known.unchanged({"/a.jpg": STATE, "/b.jpg": STATE}, {}) == ["/a.jpg"]
    assert list(known.without_ctime()) == [(7, 3)]


class Files:
    """So many files of a folder, as an index would read them from its catalog."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        for path in self.paths():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).touch()

    def paths(self) -> Iterator[str]:
        for number in range(self.count):
            yield f"{self.folder}/{number // 50:03}/IMG_{number:05}.jpg"

    def items(self) -> Iterator[tuple[str, IndexedFile]]:
        for number, path in enumerate(self.paths()):
            yield path, IndexedFile(number, FileState.of(os.stat(path)), bytes(16), True)


def peak(index: IndexedPaths, folder: Path, options: UpdateOptions) -> int:
    """Bytes that planning an update takes at most."""
    tracemalloc.start()
    try:
        plan = make_plan(index, [str(folder)], options, lambda count: None)
        assert plan.photos.unchanged + sum(1 for _ in plan.photos.changed) > 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("is_indexed", "options", "most"),
    [(True, UpdateOptions(), 100), (False, UpdateOptions(), 120), (True, UpdateOptions(rehash=True), 200)],
    ids=["known", "new", "encoded again"],
)
def test_how_many_bytes_a_file_takes(tmp_path: Path, is_indexed: bool, options: UpdateOptions, most: int) -> None:
    peaks = []
    for count in (50, 500, 3000):  # the first loads what is loaded once
        files = Files(tmp_path / str(count), count)
        device = files.folder.stat().st_dev
        index = IndexedPaths(files, {str(files.folder): device}) if is_indexed else IndexedPaths({}, {})
        peaks.append(peak(index, files.folder, options))
    assert (peaks[2] - peaks[1]) / 2500 < most
