"""Captions in files: rows of CSV and JSON lines, lines of TXT, and the photo that a sidecar belongs to."""

import json
from pathlib import Path

import pytest

from hashcli.captions import CaptionRow, TextFileError, holds_lines, photo_of, photos_by_stem, read_captions, read_lines


def test_a_sidecar_is_named_after_its_photo_with_or_without_the_ending() -> None:
    photos = photos_by_stem(["dog.jpg", "cat.png", "b.tar.jpg"])
    assert photos["dog"] == photos["dog.jpg"] == "dog.jpg"
    assert photos["b.tar"] == "b.tar.jpg"
    assert "b" not in photos


def test_a_shared_sidecar_belongs_to_the_photo_that_needs_no_extra() -> None:
    """A camera writes a RAW file and a JPEG of one name; of two photos that need no extra, the first by name."""
    assert photos_by_stem(["1.CR2", "1.heic", "1.jpg"])["1"] == "1.jpg"
    assert photos_by_stem(["1.CR2", "1.png", "1.jpg"])["1"] == "1.jpg"
    assert photos_by_stem(["1.nef", "1.dng"])["1"] == "1.dng"


def test_a_sidecar_that_names_the_whole_photo_goes_before_one_that_names_its_stem() -> None:
    assert photos_by_stem(["a.jpg", "a.jpg.png"])["a.jpg"] == "a.jpg"


def test_only_txt_holds_lines() -> None:
    assert holds_lines("trip/Dog.TXT")
    assert not holds_lines("captions.csv")


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "dog.txt").write_text("\ufeffa dog\n\n  été \r\n", encoding="utf-8")
    assert list(read_lines(tmp_path / "dog.txt")) == [(1, "a dog"), (3, "été")]
    (tmp_path / "dog.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(TextFileError, match=r"dog\.txt is not UTF-8") as raised:
        list(read_lines(tmp_path / "dog.txt"))
    assert raised.value.reason.startswith("not UTF-8")


def test_rows_of_both_formats_are_the_same(tmp_path: Path) -> None:
    rows = [
        {"image": "a.jpg", "text": "a  dog\non the beach", "labels": ["dog", "beach"]},
        {"image": "b.jpg", "caption": "a cat"},
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "captions.csv").write_text('image,text,labels\na.jpg,"a  dog\non the beach",dog; beach\nb.jpg,a cat,\n')
    first, second = read_captions(tmp_path / "captions.jsonl")
    assert first == CaptionRow(1, "a.jpg", ["a dog on the beach"], ["dog", "beach"])
    assert second == CaptionRow(2, "b.jpg", ["a cat"], [])
    assert [row[1:] for row in read_captions(tmp_path / "captions.csv")] == [first[1:], second[1:]]


def test_empty_texts_are_an_error_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"image": "a.jpg", "texts": ["one", " "]}\n{"image": "b.jpg", "texts": []}\n')
    assert [row.texts for row in read_captions(path, allow_empty=True)] == [["one"], []]
    with pytest.raises(TextFileError, match=r"captions\.jsonl:1: no text") as raised:
        list(read_captions(path))
    assert raised.value.reason == "line 1: no text"


@pytest.mark.parametrize("image", ["", "a\0b.jpg", "\ud800.jpg", 3, None])
def test_what_cannot_be_a_path_is_no_photo(tmp_path: Path, image: object) -> None:
    (tmp_path / "captions.jsonl").write_text(json.dumps({"image": image, "text": "x"}))
    with pytest.raises(TextFileError, match="no photo"):
        list(read_captions(tmp_path / "captions.jsonl"))


def test_a_sidecar_whose_name_has_another_unicode_form() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    by_stem = photos_by_stem([f"{decomposed}.jpg"])
    assert photo_of(f"{composed}.txt", by_stem) == photo_of(f"{composed}.jpg.txt", by_stem) == f"{decomposed}.jpg"
    both = photos_by_stem([f"{decomposed}.jpg", f"{composed}.png"])
    assert photo_of(f"{composed}.txt", both) == f"{composed}.png"
    assert photo_of(f"{decomposed}.txt", both) == f"{decomposed}.jpg"
    assert photo_of("cafe.txt", both) is None
