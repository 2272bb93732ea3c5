"""What is said about photos in files beside them: taken up, noticed when it changes, and dropped with its file."""

import json
import os
import shutil
from pathlib import Path

import pytest

from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.filter import Filter
from hashcli.index.preview import preview
from hashcli.index.search import Index
from hashcli.index.summary import PlannedChange
from hashcli.json_rows import result_row
from tests.conftest import PHOTOS
from tests.index.files.test_metadata import xmp
from tests.index.indexing import PLANTED, IndexFolder, described

ALL = len(PHOTOS)


def write_xmp(path: Path, title: str, attributes: str = "") -> None:
    path.write_text(xmp(f"<dc:title>{title}</dc:title>", attributes))


def texts(index: IndexFolder) -> list[tuple[object, object]]:
    return [(text, photo) for _, _, text, photo in index.texts()]


def test_a_sidecar_is_taken_changed_and_removed(index: IndexFolder, album: Path) -> None:
    index.plant_codes()
    write_xmp(album / "chelsea.xmp", "a cat", "xmp:CreateDate='2011-05-06T07:08:09'")
    assert index.update() == {"unchanged": ALL, "texts_added": 1}
    assert index.report.stages[0] == [1, 1]  # of the photos, one is read again
    assert texts(index) == [("a cat", "photos/chelsea.png")]
    assert index.taken() == {"photos/chelsea.png": 1304665689}
    assert index.update() == {"unchanged": ALL, "texts_unchanged": 1}
    assert index.report.stages[0] == [0, 0]
    write_xmp(album / "chelsea.xmp", "a dog")
    assert index.update() == {"unchanged": ALL, "texts_added": 1, "texts_removed": 1}
    assert texts(index) == [("a dog", "photos/chelsea.png")]
    assert index.taken() == {}
    (album / "chelsea.xmp").unlink()
    assert index.update() == {"unchanged": ALL, "texts_removed": 1}
    assert texts(index) == []
    assert len([code for code in index.codes().values() if code == PLANTED]) == ALL  # no photo was encoded again


def test_a_text_in_the_photo_and_beside_it_is_one(new_index: IndexFolder, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    described(tmp_path / "p" / "a.jpg", "a cat")
    write_xmp(tmp_path / "p" / "a.xmp", "a cat")
    (tmp_path / "p" / "a.jpg.json").write_text(json.dumps({"title": "a.jpg", "description": "a cat"}))
    assert new_index.update(tmp_path / "p") == {"added": 1, "texts_added": 1}


def test_photos_move_with_what_is_said_about_them(index: IndexFolder, album: Path) -> None:
    write_xmp(album / "chelsea.xmp", "a cat")
    index.update()
    index.plant_codes()
    for name in ("chelsea.png", "chelsea.xmp"):
        (album / name).rename(album / "trip" / name)
    assert index.update() == {"moved": 1, "unchanged": ALL - 1, "texts_moved": 1}
    assert texts(index) == [("a cat", "photos/trip/chelsea.png")]
    assert "a cat" in index.planted()


def test_a_named_photo_and_a_named_sidecar(new_index: IndexFolder, album: Path) -> None:
    write_xmp(album / "chelsea.xmp", "a cat")
    assert new_index.update(album / "chelsea.png") == {"added": 1, "texts_added": 1}
    assert new_index.update() == {"unchanged": 1, "texts_unchanged": 1}
    assert new_index.report.stages[0] == [0, 0]
    write_xmp(album / "chelsea.xmp", "a cat indeed")
    assert new_index.update(album / "chelsea.xmp") == {"unchanged": 1, "texts_added": 1, "texts_removed": 1}
    write_xmp(album / "coffee.xmp", "a cup")
    assert new_index.update(album / "coffee.xmp") == {"added": 1, "texts_added": 1, "texts_unchanged": 1}
    assert new_index.update(album / "nothing.xmp")["skipped"] == 1


def test_photos_that_no_scan_finds_any_more_keep_their_sidecars(new_index: IndexFolder, album: Path) -> None:
    shutil.copy(album / "chelsea.png", album / ".cat.png")
    write_xmp(album / ".cat.xmp", "a cat")
    assert new_index.update(album, hidden=True) == {"added": ALL + 1, "texts_added": 1}
    assert new_index.update(album) == {"unchanged": ALL + 1, "texts_unchanged": 1}
    assert new_index.report.stages[0] == [0, 0]


def test_a_linked_photo_has_its_sidecar_beside_the_link(new_index: IndexFolder, album: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.png").write_bytes((album / "chelsea.png").read_bytes())
    (album / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    write_xmp(album / "linked.xmp", "a cat")
    assert new_index.update(album) == {"added": ALL + 1, "texts_added": 1}
    assert new_index.update(album) == {"unchanged": ALL + 1, "texts_unchanged": 1}
    assert new_index.report.stages[0] == [0, 0]


def test_a_sidecar_that_is_left_out(new_index: IndexFolder, album: Path) -> None:
    write_xmp(album / "chelsea.xmp", "a cat")
    assert new_index.update(album, exclude=("*.xmp",)) == {"added": ALL}


@pytest.mark.parametrize("content", [b"no XML", b"<a", b"\xff" * 100])
def test_a_sidecar_that_cannot_be_read_costs_itself_and_is_tried_again(
    new_index: IndexFolder, album: Path, content: bytes
) -> None:
    (album / "chelsea.xmp").write_bytes(content)
    assert new_index.update(album) == {"added": ALL, "skipped": 1}
    ((path, _),) = new_index.report.skips
    assert path == str(album / "chelsea.xmp")
    assert new_index.update(album) == {"unchanged": ALL, "skipped": 1}
    write_xmp(album / "chelsea.xmp", "a cat")
    assert new_index.update(album) == {"unchanged": ALL, "texts_added": 1}


def test_a_pipe_named_as_a_sidecar_is_not_waited_for(new_index: IndexFolder, album: Path) -> None:
    os.mkfifo(album / "chelsea.xmp")
    assert new_index.update(album) == {"added": ALL}


def test_a_preview_names_photos_whose_sidecar_has_changed(index: IndexFolder, album: Path) -> None:
    write_xmp(album / "chelsea.xmp", "a cat")
    assert preview(index.folder, [])[0] == [PlannedChange("update", str(album / "chelsea.png"))]


def test_texts_that_are_left_out_are_counted_and_named(new_index: IndexFolder, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    described(tmp_path / "p" / "a.jpg", "OLYMPUS DIGITAL CAMERA")
    described(tmp_path / "p" / "b.jpg", "a cat")
    assert new_index.update(tmp_path / "p") == {"added": 2, "texts_added": 1, "texts_left_out": 1}
    assert new_index.report.texts_left_out == [(str(tmp_path / "p" / "a.jpg"), "OLYMPUS DIGITAL CAMERA")]
    with Index(new_index.folder) as opened:
        assert opened.info().texts_left_out == 1


def test_results_say_where_their_date_is_from(new_index: IndexFolder, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    described(tmp_path / "p" / "a.jpg", taken="2011:05:06 07:08:09")
    described(tmp_path / "p" / "b.jpg")
    os.utime(tmp_path / "p" / "b.jpg", (1304665689, 1304665689))
    write_xmp(tmp_path / "p" / "c.xmp", "a cat", "exif:DateTimeOriginal='2011-05-06'")
    described(tmp_path / "p" / "c.jpg")
    new_index.update(tmp_path / "p")
    with Index(new_index.folder) as opened:
        where = Filter(after="2011-05", before="2011-06")
        results = list(opened.search("a cat", k=9, limit=DistanceLimit(), where=where, all_copies=True))
    assert {Path(result.path).name: result_row(result)["date_from"] for result in results} == {
        "a.jpg": "DateTimeOriginal",
        "b.jpg": "modified",
        "c.jpg": "XMP sidecar",
    }
