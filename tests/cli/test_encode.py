"""hashcli encode: codes in a file or on stdout."""

import base64
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.conftest import PHOTOS, Run, json_rows


def expected_codes(model: Path, photos: list[Path]) -> np.ndarray:
    """From the pixels to the packed bits, in a few lines that share nothing with the command but the ONNX graph."""
    pixels = [
        np.asarray(Image.open(path).convert("RGB").resize((8, 8), Image.Resampling.BICUBIC, reducing_gap=2.0))
        for path in photos
    ]
    (outputs,) = onnxruntime.InferenceSession(model / "image.onnx").run(None, {"pixels": np.stack(pixels)})
    bits = (outputs > 0).astype(np.uint8).reshape(len(photos), -1, 8)
    return np.asarray((bits * (1 << np.arange(8))).sum(axis=2), np.uint8)


def test_photos_to_a_file(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [photos / "coffee.png", photos / "chelsea.png", photos / "brick.png"]
    done = hashcli("encode", *given, "--model", tiny_model, "--out", "codes.npy")
    assert (done.stdout, done.stderr) == ("", "")
    codes = np.load(tmp_path / "codes.npy")
    assert codes.dtype == np.uint8
    assert np.array_equal(codes, expected_codes(tiny_model, given))
    rows = [json.loads(line) for line in (tmp_path / "codes.jsonl").read_text().splitlines()]
    assert rows == [{"path": str(path)} for path in given]
    assert sorted(path.name for path in tmp_path.glob("codes*")) == ["codes.jsonl", "codes.npy"]


def test_paths_are_absolute_as_those_of_search(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    hashcli("index", "photos", "--index", "ix", "--model", tiny_model)
    of_search = {row["path"] for row in json_rows(hashcli("search", "cat", "-k", 99, "--json", "--index", "ix"))}
    assert {row["path"] for row in json_rows(hashcli("encode", "photos", "--json", "--model", tiny_model))} == of_search
    (row,) = json_rows(hashcli("encode", "photos/../photos/coffee.png", "--json", "--model", tiny_model))
    assert row["path"] == str(photos / "coffee.png")


def test_a_folder_texts_and_a_file_of_texts_keep_their_order(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("a dog\na rocket\n")
    hashcli(
        "encode", photos, "--text", "a cat", "--texts-from", "texts.txt", "--model", tiny_model, "--out", "codes.npy"
    )
    rows = [json.loads(line) for line in (tmp_path / "codes.jsonl").read_text().splitlines()]
    assert len(rows) == len(np.load(tmp_path / "codes.npy")) == len(PHOTOS) + 3
    assert [row["text"] for row in rows[-3:]] == ["a cat", "a dog", "a rocket"]
    assert sorted(Path(row["path"]).name for row in rows[:-3]) == sorted(PHOTOS)


def test_hex_on_stdout_is_the_same_code(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    hashcli("encode", photos / "coffee.png", "--text", "a cat", "--model", tiny_model, "--out", "codes.npy")
    printed = hashcli("encode", photos / "coffee.png", "--text", "a cat", "--model", tiny_model).stdout
    assert printed.splitlines() == [row.tobytes().hex() for row in np.load(tmp_path / "codes.npy")]


def test_what_fails_is_named_and_has_no_row(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("buy milk")
    given = [photos / "coffee.png", tmp_path / "notes.jpg", tmp_path / "missing-photo.jpg", photos / "brick.png"]
    done = hashcli("encode", *given, "--text", " ", "--model", tiny_model, "--out", "codes.npy", status=3)
    assert done.stderr.splitlines() == [
        f"skipped {tmp_path / 'notes.jpg'}: not an image that can be read",
        f"skipped {tmp_path / 'missing-photo.jpg'}: no such file or directory",
        "skipped  : an empty text",
    ]
    assert np.array_equal(np.load(tmp_path / "codes.npy"), expected_codes(tiny_model, [given[0], given[3]]))


def test_what_was_written_stays_if_nothing_can_be_encoded(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    hashcli("encode", photos / "coffee.png", "--model", tiny_model, "--out", "codes.npy")
    before = [(tmp_path / name).read_bytes() for name in ("codes.npy", "codes.jsonl")]
    done = hashcli("encode", tmp_path / "no.jpg", "--model", tiny_model, "--out", "codes.npy", status=3)
    assert "codes.npy is not written" in done.stderr
    assert [(tmp_path / name).read_bytes() for name in ("codes.npy", "codes.jsonl")] == before


def test_a_line_ends_at_its_newline_alone(hashcli: Run, tiny_model: Path) -> None:
    rows = json_rows(
        hashcli("encode", "--texts-from", "-", "--json", "--model", tiny_model, stdin="a cat\u2028on a mat\r\na dog")
    )
    assert [row["text"] for row in rows] == ["a cat\u2028on a mat", "a dog"]


def test_stdin_lists(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    rows = json_rows(hashcli("encode", "-", "--json", "--model", tiny_model, stdin=f"{photos / 'coffee.png'}\n"))
    assert [row["path"] for row in rows] == [str(photos / "coffee.png")]
    rows = json_rows(hashcli("encode", "--texts-from", "-", "--json", "--model", tiny_model, stdin="a cat\na dog\n"))
    assert [row["text"] for row in rows] == ["a cat", "a dog"]
    assert len(rows[0]["code"]) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Nothing to encode"),
        (("--text", "cat", "--out", "codes.txt"), "must end in .npy"),
    ],
)
def test_wrong_usage(hashcli: Run, arguments: tuple[str, ...], message: str) -> None:
    assert message in hashcli("encode", *arguments, status=2).stderr


def test_places_that_cannot_be_written_or_read(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    done = hashcli("encode", "--text", "cat", "--out", "no/such/codes.npy", "--model", tiny_model, status=1)
    assert "no/such/codes.npy cannot be written" in done.stderr
    assert (
        "gone.txt cannot be read"
        in hashcli("encode", "--texts-from", "gone.txt", "--model", tiny_model, status=1).stderr
    )
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "not UTF-8" in hashcli("encode", "--texts-from", "latin.txt", "--model", tiny_model, status=1).stderr


def test_a_text_has_one_code_alone_and_in_a_batch(hashcli: Run, tmp_path: Path) -> None:
    """With the model that ships: padding to the longest text of a batch changes no output by more than rounding."""
    texts = ["a dog", "two children playing football on a wide green field under a cloudy sky", "snow"]
    alone = [hashcli("encode", "--text", text).stdout.strip() for text in texts]
    together = hashcli("encode", *(part for text in texts for part in ("--text", text))).stdout.split()
    for one, other in zip(alone, together, strict=True):
        assert (int(one, 16) ^ int(other, 16)).bit_count() <= 2


def test_a_file_of_another_kind_beside_out_is_not_overwritten(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    encode = ("encode", "--text", "a cat", "--model", tiny_model, "--out", "x.npy")
    captions = '{"image": "a.jpg", "text": "mine"}\n'
    for has_codes in (False, True):
        if has_codes:
            np.save(tmp_path / "x.npy", np.zeros(3))
        (tmp_path / "x.jsonl").write_text(captions)
        assert "x.jsonl is there and was not written by hashcli encode" in hashcli(*encode, status=1).stderr
        assert (tmp_path / "x.jsonl").read_text() == captions
    (tmp_path / "x.jsonl").unlink()
    hashcli(*encode)
    hashcli(*encode)  # its own it may write anew


def test_a_name_that_is_not_utf_8_has_its_bytes_beside_it(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    name = os.path.join(os.fsencode(photos), b"caf\xe9.png")
    os.rename(photos / "coffee.png", name)
    for arguments in ((os.fsdecode(name), "--json"), (os.fsdecode(name), "--out", "x.npy")):
        done = hashcli("encode", *arguments, "--model", tiny_model)
        (row,) = map(json.loads, (done.stdout or (tmp_path / "x.jsonl").read_text()).splitlines())
        assert base64.b64decode(row["path_bytes"]) == os.fsencode(row["path"]) == name
