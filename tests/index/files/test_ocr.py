"""Reading the words in photos, with RapidOCR itself."""

import socket
import sys
from pathlib import Path

import pytest
from PIL import Image

from hashcli.errors import HashcliError
from hashcli.index.files.ocr import Ocr, OcrMissingError, check_ocr_installed, load_photo
from hashcli.index.files.text_files import MAX_CHARACTERS
from tests.conftest import SKIMAGE
from tests.index.photographed import photograph

LINES = ["Harbour Bookshop Ltd", "12 Quay Street, Tobermory", "Field guide     24.50", "Postcards        3.20"]


@pytest.fixture(scope="module")
def ocr() -> Ocr:
    pytest.importorskip("rapidocr")
    return Ocr()


def test_printed_words_are_read_line_by_line(ocr: Ocr, tmp_path: Path) -> None:
    photograph(LINES, tmp_path / "receipt.jpg")
    (text,) = ocr.texts(load_photo(tmp_path / "receipt.jpg"))
    words = [word for line in LINES for word in line.replace(",", " ").split()]
    assert [word for word in words if word not in text] == []
    assert text.index("Harbour") < text.index("Tobermory") < text.index("guide") < text.index("Postcards")


def test_a_page(ocr: Ocr) -> None:
    (text,) = ocr.texts(load_photo(SKIMAGE / "page.png"))
    assert text.startswith("Region-based segmentation Let us first determine markers of the coins")


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "grass.png"])
def test_where_there_are_no_words_none_are_read(ocr: Ocr, name: str) -> None:
    assert ocr.texts(load_photo(SKIMAGE / name)) == []


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (31, 900)])
def test_photos_too_thin_for_words(ocr: Ocr, size: tuple[int, int]) -> None:
    assert ocr.texts(Image.new("RGB", size)) == []


def test_panoramas_are_read(ocr: Ocr) -> None:
    assert ocr.texts(Image.new("RGB", (2000, 40))) == []
    assert ocr.texts(Image.new("RGB", (40, 2000))) == []


def test_a_photo_is_made_no_larger_than_needed(tmp_path: Path) -> None:
    Image.new("RGB", (6000, 3000)).save(tmp_path / "large.jpg")
    assert load_photo(tmp_path / "large.jpg").size == (2000, 1000)


class Lines:
    """In the place of RapidOCR."""

    def __init__(self, *lines: str) -> None:
        self.txts = lines

    def __call__(self, _: object) -> "Lines":
        return self


def test_long_texts_are_divided_between_lines(ocr: Ocr, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number} of a page with many lines" for number in range(120)]
    monkeypatch.setattr(ocr, "_engine", Lines(*lines, "7", "*", "-- a --", "ok", "x" * 5000))
    texts = ocr.texts(Image.new("RGB", (90, 90)))
    assert " ".join(texts) == " ".join([*lines, "ok", "x" * MAX_CHARACTERS])
    assert max(map(len, texts)) <= MAX_CHARACTERS
    assert len(texts) == 4


def test_nothing_is_downloaded(ocr: Ocr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("something is to be downloaded")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    photograph(LINES[:1], tmp_path / "receipt.jpg")
    assert Ocr().texts(load_photo(tmp_path / "receipt.jpg")) == LINES[:1]
    with pytest.raises(AssertionError):
        socket.create_connection(("127.0.0.1", 9))


def test_without_its_models_it_is_not_used(ocr: Ocr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import rapidocr

    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(HashcliError, match="without its models"):
        Ocr()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(OcrMissingError, match=r"pip install '\.\[ocr\]'"):
        Ocr()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OcrMissingError):
        check_ocr_installed()
