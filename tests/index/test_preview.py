"""What an update would do, without doing it."""

import os
import shutil
from pathlib import Path

import pytest

from hashcli.index.preview import preview
from hashcli.index.summary import PlannedChange, UpdateOptions
from tests.conftest import PHOTOS
from tests.index.indexing import IndexFolder, Recorder


def changes(index: IndexFolder, *paths: Path, **options: bool) -> list[PlannedChange]:
    found, _ = preview(index.folder, [str(path) for path in paths], UpdateOptions(**options))  # type: ignore[arg-type]
    return sorted(found, key=lambda change: change.action)


def test_changes_of_photos_are_named_and_nothing_is_done(index: IndexFolder, album: Path) -> None:
    before = index.rows()
    shutil.copy(album / "coffee.png", album / "new.png")
    (album / "brick.png").rename(album / "wall.png")
    (album / "coins.png").unlink()
    (album / "moon.jpg").write_bytes((album / "trip" / "moon.png").read_bytes())
    (album / "grass.png").write_bytes(b"shorter")
    os.utime(album / "chelsea.png")
    assert changes(index, album) == [
        PlannedChange("add", str(album / "moon.jpg")),
        PlannedChange("add", str(album / "new.png")),
        PlannedChange("move", str(album / "wall.png"), str(album / "brick.png")),
        PlannedChange("remove", str(album / "coins.png")),
        PlannedChange("update", str(album / "grass.png")),
    ]
    assert index.rows() == before


def test_with_rehash_every_photo_is_updated(index: IndexFolder, album: Path) -> None:
    assert {change.action for change in changes(index, rehash=True)} == {"update"}
    assert len(changes(index, rehash=True)) == len(PHOTOS)


def test_text_files_are_named_too(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("image,text\nphotos/chelsea.png,one\n")
    (album / "chelsea.txt").write_text("a cat")
    (album / "coffee.txt").write_text("a cup")
    index.update(album, tmp_path / "captions.csv")
    os.utime(tmp_path / "captions.csv")
    (album / "chelsea.txt").rename(album / "coins.txt")
    (album / "coffee.txt").unlink()
    (album / "brick.txt").write_text("a wall")
    assert changes(index) == [
        PlannedChange("add", str(album / "brick.txt")),
        PlannedChange("move", str(album / "coins.txt"), str(album / "chelsea.txt")),
        PlannedChange("remove", str(album / "coffee.txt")),
    ]
    assert changes(index, texts=False) == []
    assert len(index.texts()) == 3


def test_without_an_index_everything_is_new_and_none_is_made(new_index: IndexFolder, album: Path) -> None:
    assert {change.action for change in changes(new_index, album)} == {"add"}
    assert len(changes(new_index, album)) == len(PHOTOS)
    assert not new_index.folder.exists()


def test_what_would_be_skipped_is_reported(new_index: IndexFolder, tmp_path: Path) -> None:
    recorder = Recorder()
    missing = str(tmp_path / "nowhere")
    found, skipped = preview(new_index.folder, [missing], UpdateOptions(), recorder)
    assert (found, skipped) == ([], [(missing, "no such file or folder")])
    assert recorder.skips == skipped


def test_a_moved_photo_that_cannot_be_read_is_skipped(
    index: IndexFolder, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (album / "brick.png").rename(album / "wall.png")

    def fails(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("hashcli.index.preview.hash_of_content", fails)
    found, skipped = preview(index.folder, [str(album)])
    assert skipped == [(str(album / "wall.png"), "permission denied")]
    assert found == [PlannedChange("remove", str(album / "brick.png"))]
