"""What an index knows of its files: which have changed, and how little memory that takes."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

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
    assert dict(known.changed()) == {path: files[path] for path in ("/other.jpg", "/waiting.jpg", "/moved.txt")}
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

    def items(self) -> Iterator[tuple[str, IndexedFile]]:
        for number in range(self.count):
            path = self.folder / f"{number // 50:03}" / f"IMG_{number:05}.jpg"
            yield str(path), IndexedFile(number, FileState.of(path.stat()), bytes(16), True)


def peak(folder: Path, count: int) -> int:
    """Bytes that planning an update of so many known files takes at most."""
    for number in range(count):
        path = folder / f"{number // 50:03}" / f"IMG_{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    paths = IndexedPaths(Files(folder, count), {str(folder): folder.stat().st_dev})
    tracemalloc.start()
    try:
        plan = make_plan(paths, [], UpdateOptions(), lambda count: None)
        assert plan.photos.unchanged == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_known_file_takes_less_than_100_bytes(tmp_path: Path) -> None:
    peak(tmp_path / "first", 50)  # loads what is loaded once
    few, many = peak(tmp_path / "few", 500), peak(tmp_path / "many", 3000)
    assert (many - few) / 2500 < 100
