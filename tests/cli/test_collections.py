"""Several collections: named indexes, and one beside the photos."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PHOTOS, Run, json_rows
from tests.index.indexing import IndexFolder

not_as_user = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)


def paths_found(hashcli: Run, *arguments: object, **more: Any) -> list[Path]:
    return [
        Path(line) for line in hashcli("search", "cat", "-k", "99", "--paths", *arguments, **more).stdout.splitlines()
    ]


@pytest.fixture
def named(tmp_path: Path, tiny_model: Path) -> Callable[[str], IndexFolder]:
    """The index of a name, in the command's data folder; `default` is the one that needs no name."""

    def index_of(name: str) -> IndexFolder:
        folder = tmp_path / "data" / "hashcli"
        return IndexFolder(folder / "index" if name == "default" else folder / "indexes" / name, tiny_model)

    return index_of


def test_named_indexes_stand_beside_each_other(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert "no index yet" in hashcli("info", "--all").stderr
    hashcli("index", photos, "--name", "all", "--model", tiny_model)
    hashcli("index", photos / "trip", "--name", "trip.2024", "--model", tiny_model)
    hashcli("index", photos / "coins.png", "--model", tiny_model)
    assert len(paths_found(hashcli, "--name", "all")) == len(PHOTOS)
    assert len(paths_found(hashcli, "--name", "trip.2024")) == 2
    assert paths_found(hashcli) == paths_found(hashcli, "--name", "default") == [photos / "coins.png"]
    rows = json_rows(hashcli("info", "--all", "--json"))
    assert [(row["name"], row["photos"]) for row in rows] == [("default", 1), ("all", len(PHOTOS)), ("trip.2024", 2)]
    assert rows[1]["index"] == str(tmp_path / "data" / "hashcli" / "indexes" / "all")
    assert all(row["bytes"] > 0 for row in rows)
    lines = [line.split("\t") for line in hashcli("info", "--all").stdout.splitlines()]
    assert [line[:2] for line in lines] == [["default", "1"], ["all", str(len(PHOTOS))], ["trip.2024", "2"]]


def test_a_damaged_index_does_not_hide_the_others(
    hashcli: Run, photos: Path, named: Callable[[str], IndexFolder], tmp_path: Path
) -> None:
    named("good").update(photos)
    bad = tmp_path / "data" / "hashcli" / "indexes" / "bad"
    bad.mkdir()
    (bad / "catalog.sqlite").write_bytes(b"nothing like a database" * 100)
    done = hashcli("info", "--all", "--json")
    assert [row["name"] for row in json_rows(done)] == ["good"]
    assert "skipped bad: " in done.stderr


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "-x", "a b", "x" * 65, "a\nb"])
def test_a_name_that_is_none(hashcli: Run, tmp_path: Path, name: str) -> None:
    assert "cannot be the name" in hashcli("info", f"--name={name}", status=2).stderr
    assert not (tmp_path / "data").exists()


def test_two_options_that_choose_an_index_are_one_too_many(
    hashcli: Run, photos: Path, named: Callable[[str], IndexFolder], tmp_path: Path
) -> None:
    """An option takes precedence over the environment."""
    assert "one of them" in hashcli("info", "--index", "ix", "--name", "some", status=2).stderr
    named("some").update(photos)
    (row,) = json_rows(hashcli("info", "--name", "some", "--json", HASHCLI_INDEX=str(tmp_path / "other")))
    assert row["photos"] == len(PHOTOS)


def test_messages_name_the_index_they_mean(
    hashcli: Run, photos: Path, named: Callable[[str], IndexFolder], tiny_model: Path, tmp_path: Path
) -> None:
    """Each command they print, typed as it is, works on that index."""
    for index in (named("some"), named("default"), IndexFolder(tmp_path / "with space" / "ix", tiny_model)):
        index.update(photos)
    for photo in photos.rglob("*.png"):
        photo.unlink()
    for option, said in (
        (("--name", "some"), "hashcli index --name some\n"),
        ((), "hashcli index\n"),
        (("--name", "default"), "hashcli index --name default\n"),
        (("--index", "with space/ix"), f"hashcli index --index '{tmp_path}/with space/ix'\n"),
    ):
        assert said in hashcli("search", "cat", *option).stderr
    for option, said in (
        (("--name", "none"), "hashcli index --name none PATH"),
        (("--index", "none"), f"hashcli index --index {tmp_path}/none PATH"),
    ):
        assert said in hashcli("search", "cat", *option, status=1).stderr
    done = hashcli("search", "cat", "--name", "som", status=1)
    assert "Did you mean" in done.stderr
    assert "indexes/some?" in done.stderr
    done = hashcli("index", "--name", "some", "--model", "lite-256", status=1)
    assert "hashcli index --name some --rehash --model lite-256" in done.stderr


@pytest.fixture
def beside(photos: Path, tiny_model: Path) -> Path:
    """Photos with their index beside them, and in it a code that no encoder would give."""
    index = IndexFolder(photos / ".hashcli", tiny_model)
    index.update(photos)
    index.plant_codes("path LIKE '%brick.png'")
    return photos


def test_the_index_beside_the_photos_is_found_from_within(hashcli: Run, beside: Path, tmp_path: Path) -> None:
    assert "There is no index" in hashcli("info", status=1).stderr
    (beside / "trip" / "deep").mkdir()
    for place in (beside, beside / "trip", beside / "trip" / "deep"):
        (row,) = json_rows(hashcli("info", "--json", cwd=place))
        assert row["index"] == str(beside / ".hashcli")
    shutil.copyfile(beside / "coins.png", beside / "trip" / "deep" / "new.png")
    (row,) = json_rows(hashcli("index", "--json", cwd=beside / "trip"))
    assert (row["added"], row["unchanged"]) == (1, len(PHOTOS))
    assert not (tmp_path / "data").exists()
    hashcli("info", "--name", "default", cwd=beside, status=1)  # chosen all the same


def test_it_survives_a_move_and_nothing_is_encoded_again(hashcli: Run, beside: Path, tmp_path: Path) -> None:
    """A copy as tar or rsync -a makes it, on another mount point: other inodes, another device where there is one."""
    elsewhere = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    moved = elsewhere / f"hashcli-test-{os.getpid()}" / "another mount"
    try:
        shutil.copytree(beside, moved)
        shutil.rmtree(beside)
        assert {path.parent for path in paths_found(hashcli, cwd=moved)} == {moved, moved / "trip"}
        assert {path.parent for path in paths_found(hashcli, "--index", moved / ".hashcli")} == {moved, moved / "trip"}
        (row,) = json_rows(hashcli("index", "--json", cwd=moved))
        assert {name: count for name, count in row.items() if count} == {"unchanged": len(PHOTOS)}
        (moved / "coins.png").rename(moved / "trip" / "old.png")
        (row,) = json_rows(hashcli("index", "--json", cwd=moved))
        assert {name: count for name, count in row.items() if count} == {"moved": 1, "unchanged": len(PHOTOS) - 1}
        with sqlite3.connect(moved / ".hashcli" / "catalog.sqlite") as db:
            ((code,),) = db.execute("SELECT code FROM items WHERE path LIKE '%brick.png'")
        assert code == bytes(8)
        (facts,) = json_rows(hashcli("info", "--json", cwd=moved))
        assert facts["roots"] == [str(moved)]
    finally:
        shutil.rmtree(moved.parent, ignore_errors=True)


@not_as_user
def test_an_index_above_that_somebody_else_put_there_is_not_taken(hashcli: Run, beside: Path) -> None:
    os.chown(beside / ".hashcli", 12345, 12345)
    done = hashcli("info", cwd=beside, status=1)
    assert "belongs to another user" in done.stderr
    assert hashcli("info", "--index", beside / ".hashcli").stdout
