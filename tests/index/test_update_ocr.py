"""Words in photos in an index: read once for each content, and kept wherever a photo with this content is."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from hashcli.index import update_ocr
from hashcli.index.files.ocr import OcrMissingError
from hashcli.index.search import Index
from hashcli.index.update import forget
from tests.index.indexing import IndexFolder, described

WORDS = {10: ["Tobermory"], 20: ["a cat", "Oban"], 30: [], 40: ["a dog"]}  # by how red a photo is


class FakeOcr:
    """Reads what WORDS says, and keeps what it was given."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.fails_at: dict[int, BaseException] = {}

    def __call__(self) -> "FakeOcr":
        return self

    def texts(self, photo: Image.Image) -> list[str]:
        red = int(photo.getpixel((0, 0))[0])  # type: ignore[index]
        self.read.append(red)
        if red in self.fails_at:
            raise self.fails_at[red]
        return WORDS[red]

    def taken(self) -> list[int]:
        """What was read since the last call."""
        read, self.read = sorted(self.read), []
        return read


@pytest.fixture
def ocr(monkeypatch: pytest.MonkeyPatch) -> FakeOcr:
    fake = FakeOcr()
    monkeypatch.setattr(update_ocr, "Ocr", fake)
    monkeypatch.setattr("hashcli.index.update.check_ocr_installed", lambda: None)
    return fake


def paint(path: Path, red: int) -> None:
    Image.new("RGB", (16, 16), (red, 0, 0)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "p"
    folder.mkdir()
    for red in WORDS:
        paint(folder / f"{red}.png", red)
    return folder


@pytest.fixture
def read(new_index: IndexFolder, photos: Path, ocr: FakeOcr) -> IndexFolder:
    """An index whose photos have been read."""
    new_index.update(photos, read_words=True)
    assert ocr.taken() == [10, 20, 30, 40]
    return new_index


def texts(index: IndexFolder) -> dict[str, list[str]]:
    """The texts that have a code, by their photos."""
    found: dict[str, list[str]] = {}
    for path, line, text, photo in index.texts():
        assert (path, line) == (photo, None)
        found.setdefault(Path(str(photo)).name, []).append(str(text))
    return found


ALL = {"10.png": ["Tobermory"], "20.png": ["Oban", "a cat"], "40.png": ["a dog"]}


def test_what_is_read_is_found_by_words_and_by_meaning(read: IndexFolder, photos: Path) -> None:
    assert texts(read) == ALL
    with Index(read.folder) as index:
        assert [Path(result.path).name for result in index.search("Tobermory")] == ["10.png"]
        assert index.search("Oban")[0].words == ("oban",)
        assert [result.text for result in index.search("a dog", 1, kinds="text")] == ["a dog"]
        assert index.info().reads_words
        index.check()
        (read.folder / "images.words").unlink()  # by the catalog too
        assert [Path(result.path).name for result in index.search("Tobermory")] == ["10.png"]
        documents = {document.id: document for document in index.catalog.documents()}
        assert sorted(document.read for document in documents.values()) == [
            [],
            ["Oban", "a cat"],
            ["Tobermory"],
            ["a dog"],
        ]


def test_photos_are_read_once(read: IndexFolder, photos: Path, ocr: FakeOcr) -> None:
    assert read.update() == {"unchanged": 4, "texts_unchanged": 4}
    assert read.update(check_content=True) == {"unchanged": 4, "texts_unchanged": 4}
    assert read.update(rehash=True) == {"updated": 4, "texts_updated": 4}
    assert ocr.taken() == []
    paint(photos / "30.png", 10)
    paint(photos / "new.png", 30)
    shutil.copy(photos / "20.png", photos / "copy.png")
    assert read.update() == {"added": 2, "updated": 1, "unchanged": 3, "texts_added": 3, "texts_unchanged": 4}
    assert ocr.taken() == []  # the contents are known
    assert texts(read) == ALL | {"30.png": ["Tobermory"], "copy.png": ["Oban", "a cat"]}


def test_equal_photos_are_read_as_one(new_index: IndexFolder, photos: Path, ocr: FakeOcr) -> None:
    shutil.copy(photos / "10.png", photos / "copy.png")
    assert new_index.update(photos, read_words=True)["texts_added"] == 5
    assert ocr.taken() == [10, 20, 30, 40]
    assert texts(new_index)["copy.png"] == ["Tobermory"]


def test_words_move_with_their_photo_and_go_with_its_content(read: IndexFolder, photos: Path, ocr: FakeOcr) -> None:
    (photos / "10.png").rename(photos / "moved.png")
    assert read.update() == {"moved": 1, "unchanged": 3, "texts_moved": 1, "texts_unchanged": 3}
    (photos / "moved.png").with_suffix(".xmp").write_text("not XMP")
    os.utime(photos / "moved.png", (1, 1))
    read.update()
    assert texts(read)["moved.png"] == ["Tobermory"]
    paint(photos / "20.png", 40)
    (photos / "moved.png").unlink()
    counts = read.update()
    assert (counts["updated"], counts["removed"], counts["texts_removed"]) == (1, 1, 3)
    assert texts(read) == {"20.png": ["a dog"], "40.png": ["a dog"]}
    assert ocr.taken() == []
    assert {text for (text,) in read.sql("SELECT text FROM words_read")} == {"a dog", ""}
    forget(read.folder, [str(photos)])
    assert read.sql("SELECT text FROM words_read") == []


def test_without_the_option_nothing_is_read(new_index: IndexFolder, photos: Path, ocr: FakeOcr) -> None:
    assert new_index.update(photos) == {"added": 4}
    assert new_index.update(read_words=True, texts=False) == {"unchanged": 4}
    assert ocr.taken() == []
    assert new_index.update()["texts_added"] == 4  # it remembers
    assert new_index.report.stages[-2:] == [[4, 4], [4, 4]]  # photos, and their texts


def test_switched_off_what_was_read_is_dropped_and_descriptions_stay(
    new_index: IndexFolder, photos: Path, ocr: FakeOcr
) -> None:
    described(photos / "described.jpg", "a cat")  # the same words as are read in it
    ocr.texts = lambda photo: ["a cat", "Oban"]  # type: ignore[method-assign]
    new_index.update(photos, read_words=True)
    assert texts(new_index)["described.jpg"] == ["Oban", "a cat"]
    assert new_index.update(read_words=False)["texts_removed"] == 9
    assert texts(new_index) == {"described.jpg": ["a cat"]}
    with Index(new_index.folder) as index:
        assert not index.info().reads_words
    assert new_index.update() == {"unchanged": 5, "texts_unchanged": 1}


def test_one_odd_photo_costs_only_itself(new_index: IndexFolder, photos: Path, ocr: FakeOcr) -> None:
    ocr.fails_at = {20: RuntimeError("odd")}
    assert new_index.update(photos, read_words=True) == {"added": 4, "texts_added": 2, "skipped": 1}
    assert new_index.report.skips == [(str(photos / "20.png"), "its words cannot be read: odd")]
    ocr.taken()
    ocr.fails_at = {}
    new_index.update()
    assert ocr.taken() == [20]  # it is tried again
    assert texts(new_index) == ALL


def test_an_interrupt_costs_one_batch(
    new_index: IndexFolder, photos: Path, ocr: FakeOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_ocr, "_BATCH", 2)
    ocr.fails_at = {40: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        new_index.update(photos, read_words=True)
    with Index(new_index.folder) as index:
        assert [Path(result.path).name for result in index.search("Tobermory")] == ["10.png"]
        index.check()
    ocr.taken()
    ocr.fails_at = {}
    new_index.update()
    assert ocr.taken() == [30, 40]
    assert texts(new_index) == ALL


def test_a_photo_that_has_changed_meanwhile_is_read_by_the_next_update(
    new_index: IndexFolder, photos: Path, ocr: FakeOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(update_ocr, "hash_of_content", lambda path: bytes(16))
        assert new_index.update(photos, read_words=True) == {"added": 4}
    assert ocr.taken() == []
    new_index.update()
    assert texts(new_index) == ALL


def test_photos_out_of_reach_are_read_when_they_are_back(read: IndexFolder, photos: Path, ocr: FakeOcr) -> None:
    read.move_roots_to_another_disk()
    photos.rename(photos.with_name("away"))
    read.update(read_words=False)
    with Index(read.folder) as index:
        index.check()  # what was read counts as written until then
    read.update(read_words=True)
    assert texts(read) == ALL
    assert ocr.taken() == []
    photos.with_name("away").rename(photos)
    read.update()
    assert texts(read) == ALL
    assert ocr.taken() == [10, 20, 30, 40]


def test_without_the_extra_an_index_that_is_to_be_read_is_updated_nevertheless(
    read: IndexFolder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise OcrMissingError

    monkeypatch.setattr(update_ocr, "Ocr", missing)
    assert read.update() == {"unchanged": 4, "texts_unchanged": 4}  # there is nothing to read
    paint(photos / "new.png", 50)
    assert read.update() == {"added": 1, "unchanged": 4, "texts_unchanged": 4, "skipped": 1}
    ((what, why),) = read.report.skips
    assert what == "the words in 1 photo"
    assert "pip install '.[ocr]'" in why
    monkeypatch.setattr("hashcli.index.update.check_ocr_installed", missing)
    with pytest.raises(OcrMissingError):
        read.update(read_words=True)
