"""Waiting for changes on disk: which count, and that none is missed."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hashcli.index.files import watch
from hashcli.index.files.watch import CannotWatchError, concerns_index, wait_for_changes


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Iterator[None]]]:
    """wait_for_changes of some paths; bursts end sooner than for users, and it has yielded for the first time."""
    pytest.importorskip("watchfiles")
    monkeypatch.setattr(watch, "_QUIET", 50)
    monkeypatch.setattr(watch, "_CHECK_PATHS", 50)
    begun = []

    def begin(*paths: Path, hidden: bool = False) -> Iterator[None]:
        changes = wait_for_changes([str(path) for path in paths], paths[0] / ".hashcli", hidden=hidden)
        begun.append(changes)
        next(changes)
        return changes

    yield begin
    for changes in begun:
        changes.close()  # type: ignore[attr-defined]


def test_each_change_is_seen(waiting: Callable[..., Iterator[None]], tmp_path: Path) -> None:
    changes = waiting(tmp_path)
    (tmp_path / "a.jpg").touch()
    next(changes)
    (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")
    next(changes)
    (tmp_path / "b.jpg").unlink()
    next(changes)
    (tmp_path / "trip").mkdir()
    next(changes)
    (tmp_path / "trip" / "c.txt").touch()
    next(changes)


def test_a_name_that_is_not_utf8_does_not_end_it(waiting: Callable[..., Iterator[None]], tmp_path: Path) -> None:
    changes = waiting(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    next(changes)
    (tmp_path / "a.jpg").touch()
    next(changes)


def test_a_file_given_by_name_that_is_replaced_as_editors_do(
    waiting: Callable[..., Iterator[None]], tmp_path: Path
) -> None:
    (tmp_path / "captions.csv").write_text("image,text\n")
    changes = waiting(tmp_path / "captions.csv")
    for content in ("image,text\na.jpg,a\n", "image,text\na.jpg,b\n"):
        (tmp_path / "new").write_text(content)
        (tmp_path / "new").replace(tmp_path / "captions.csv")
        next(changes)


def test_a_folder_that_goes_and_comes_back(waiting: Callable[..., Iterator[None]], tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "photos").mkdir()
    changes = waiting(tmp_path / "kept", tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos")
    next(changes)
    (tmp_path / "photos").mkdir()
    next(changes)
    (tmp_path / "photos" / "a.jpg").touch()
    next(changes)


def test_too_many_folders_for_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watchfiles = pytest.importorskip("watchfiles")

    def refuses(*paths: str, **options: object) -> Iterator[set[object]]:
        raise OSError(28, "OS file watch limit reached.")
        yield set()

    monkeypatch.setattr(watchfiles, "watch", refuses)
    with pytest.raises(CannotWatchError, match="cannot be watched") as raised:
        next(wait_for_changes([str(tmp_path)], tmp_path / ".hashcli", hidden=False))
    assert "max_user_watches" in raised.value.remedy
    assert "--" not in raised.value.remedy


def test_which_changes_concern_an_index(tmp_path: Path) -> None:
    photos, index = tmp_path / ".pictures" / "photos", tmp_path / ".pictures" / "photos" / ".hashcli"
    photos.mkdir(parents=True)
    (photos / "notes.doc").touch()

    def concerns(name: str, *, hidden: bool = False) -> bool:
        return concerns_index(str(photos / name), [str(photos)], index, hidden=hidden)

    assert concerns("a.jpg")
    assert concerns("a.TXT")
    assert concerns("trip/captions.jsonl")
    assert concerns("trip")  # a folder, or one that was
    assert concerns("trip/.hashcliignore")
    assert not concerns("notes.doc")
    assert not concerns(".hidden/a.jpg")
    assert not concerns("._a.jpg")
    assert concerns(".hidden/a.jpg", hidden=True)
    for hidden in (False, True):
        assert not concerns(".hashcli/catalog.sqlite", hidden=hidden)
        assert not concerns(".hashcli", hidden=hidden)


def test_a_hidden_folder_that_is_itself_watched_is_not_hidden(tmp_path: Path) -> None:
    hidden = str(tmp_path / ".hidden")
    assert not concerns_index(f"{hidden}/a.jpg", [str(tmp_path)], tmp_path / "ix", hidden=False)
    assert concerns_index(f"{hidden}/a.jpg", [str(tmp_path), hidden], tmp_path / "ix", hidden=False)
