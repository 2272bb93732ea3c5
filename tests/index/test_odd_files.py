"""Whatever one file brings costs that file at most: the others are indexed, and the file is named."""

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from hashcli.hashmodel.model import HashModel
from hashcli.index import update_photos
from hashcli.index.catalog import Kind
from hashcli.index.files.metadata import Metadata
from hashcli.index.filter import Filter
from hashcli.index.filter_table import FilterTable
from hashcli.index.search import Index
from tests.conftest import PHOTOS, Run, json_rows
from tests.index.indexing import IndexFolder

ALL = len(PHOTOS)


@pytest.mark.parametrize("seconds", [10_413_792_000, -10_413_792_000, 2**33, -1])  # the years 2300 and 1640, and others
def test_a_photo_of_another_century(index: IndexFolder, album: Path, seconds: int) -> None:
    os.utime(album / "coffee.png", (seconds, seconds))
    if (album / "coffee.png").stat().st_mtime != seconds:
        pytest.skip("this file system cannot hold the date")
    assert index.update() == {"unchanged": ALL}
    assert index.report.stages[0] == [1, 1]
    assert index.update() == {"unchanged": ALL}
    assert index.report.stages[0] == [0, 0]  # it counts as seen
    with index.read() as catalog:
        table = FilterTable.of(catalog.filter_fields(Kind.IMAGE))
    taken = Filter(after="2200").compiled().taken_of(table, str(index.folder.parent), lambda path: [])
    assert taken.sum() == (seconds > 2**32)


@pytest.mark.parametrize("years", [-30, 30])
def test_edits_while_the_clock_is_wrong(index: IndexFolder, album: Path, years: int) -> None:
    """Times are compared for being the same, never for which is later."""
    photo = album / "coffee.png"
    for name in ("brick.png", "grass.png"):
        shutil.copy(album / name, photo)
        moment = photo.stat().st_mtime + years * 31_556_952
        os.utime(photo, (moment, moment))
        assert index.update() == {"updated": 1, "unchanged": ALL - 1}
        assert index.update() == {"unchanged": ALL}
        years = 0  # the clock is set right


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(10**30, []),
        Metadata(2, ["x" * 100, "half a character \ud800"]),
        Metadata("2024", ["a cat"]),  # type: ignore[arg-type]
        Metadata(object(), ["a cat"]),  # type: ignore[arg-type]
    ],
)
def test_metadata_that_cannot_be_stored(
    new_index: IndexFolder, album: Path, monkeypatch: pytest.MonkeyPatch, metadata: Metadata
) -> None:
    odd = iter([metadata])
    monkeypatch.setattr(update_photos, "read_metadata", lambda *_: next(odd, Metadata(None, [])))
    counts = new_index.update(album)
    assert counts["added"] >= ALL - 1
    assert counts["added"] + counts.get("skipped", 0) == ALL
    assert len(new_index.report.skips) == counts.get("skipped", 0)
    assert len(new_index.codes()) == counts["added"]


@pytest.mark.parametrize(
    "name", [b"line\nend.png", b"tab\t\x1b[31m.png", b"not utf-8 \xff.png", b" .png", "a\u202etrick.png".encode()]
)
def test_odd_names(new_index: IndexFolder, album: Path, name: bytes) -> None:
    shutil.copy(os.fsencode(album / "coffee.png"), os.path.join(os.fsencode(album), name))
    text = os.path.splitext(name)[0] + b".txt"
    with open(os.path.join(os.fsencode(album), text), "w") as sidecar:
        sidecar.write("a cup")
    assert new_index.update(album) == {"added": ALL + 1, "texts_added": 1}
    assert new_index.update(album) == {"unchanged": ALL + 1, "texts_unchanged": 1}


def test_links_that_lead_to_themselves(new_index: IndexFolder, album: Path) -> None:
    for name in ("loop.png", "coffee.txt", "folder"):
        (album / name).symlink_to(album / name)
    counts = new_index.update(album)
    assert counts["added"] == ALL


def test_a_path_that_is_none(new_index: IndexFolder, album: Path) -> None:
    summary = Index(new_index.folder).update([album, f"{album}/a\0b.jpg"], model=new_index.model)
    assert summary.added == ALL
    assert summary.skipped == [(f"{album}/a\0b.jpg", "embedded null byte")]


def test_a_text_that_cannot_be_encoded(new_index: IndexFolder, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_texts = HashModel.encode_texts

    def fussy(self: HashModel, texts: list[str]) -> np.ndarray:
        if "a dog" in texts:
            raise ValueError("no dogs")
        return encode_texts(self, texts)

    monkeypatch.setattr(HashModel, "encode_texts", fussy)
    (album / "coffee.txt").write_text("a cat\na dog\n")
    counts = new_index.update(album)
    assert counts == {"added": ALL, "texts_added": 2, "skipped": 1}
    assert new_index.report.skips == [(f"{album / 'coffee.txt'}:2", "no dogs")]
    assert [text for _, _, text, _ in new_index.texts()] == ["a cat"]


def test_dates_in_no_calendar_are_printed(index: IndexFolder, hashcli: Run, tmp_path: Path) -> None:
    with sqlite3.connect(index.folder / "catalog.sqlite") as db:
        db.execute(
            "UPDATE items SET taken = id * 900000000000000000, mtime_ns = id * 900000000000000000, "
            "check_value = NULL WHERE kind = 0 AND id < 10"
        )
    index.set_check_values()
    search = ("search", "--image", tmp_path / "photos" / "coffee.png", "--all", "--index", index.folder)
    found = json_rows(hashcli(*search, "--json"))
    assert "900000000000000000" in {row.get("taken") for row in found}
    assert hashcli(*search, "--after", "2020", "--html", "page.html").returncode == 0
