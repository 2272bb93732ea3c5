"""A hash model from Python: opened by name or folder, images and texts to float outputs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from hashcli.errors import HashcliError
from hashcli.hashmodel import registry
from hashcli.hashmodel.model import IMAGE_BATCH, TEXT_BATCH, HashModel
from hashcli.hashmodel.registry import find_model, load_model
from tests.conftest import SKIMAGE, make_tiny_model

NAMES = ("chelsea.png", "coffee.png", "rocket.jpg")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> HashModel:
    return load_model(tiny_model)


def test_texts(model: HashModel) -> None:
    """More than one batch, in order; bytes of a command line that are not UTF-8 stop nothing."""
    texts = ["a cat", "a dog"] * TEXT_BATCH
    outputs = model.encode_texts(text for text in texts)
    assert outputs.dtype == np.float32
    assert outputs.shape == (len(texts), 64)
    assert np.array_equal(outputs[-1], model.encode_texts(["a dog"])[0])
    assert not np.array_equal(outputs[0], outputs[1])
    assert model.encode_texts(["caf\udce9"]).shape == (1, 64)
    assert model.encode_texts([]).shape == (0, 64)


def test_images(model: HashModel) -> None:
    """Paths of either kind and images that are open: each gives what its pixels give, over more than one batch."""
    paths = [SKIMAGE / name for name in NAMES] * IMAGE_BATCH
    outputs = model.encode_images(paths)
    assert outputs.dtype == np.float32
    assert outputs.shape == (len(paths), 64)
    expected = model.encode_pixels(np.stack([model.load_pixels(path) for path in paths[:3]]))
    assert np.array_equal(outputs[-3:], expected)
    assert np.array_equal(model.encode_images(str(path) for path in paths[:3]), expected)
    assert model.encode_images([]).shape == (0, 64)
    with Image.open(paths[2]) as image:
        size = image.size
        from_image = model.encode_images([image, image])
        assert image.size == size
    assert np.array_equal(from_image[0], from_image[1])
    assert np.corrcoef(from_image[0], expected[2])[0, 1] > 0.99  # the file is decoded at a smaller size


def test_an_image_that_is_open_is_turned_upright(model: HashModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(SKIMAGE / "chelsea.png") as photo:
        photo.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        assert np.allclose(model.encode_images([turned]), model.encode_images([tmp_path / "turned.png"]))


def test_a_home_folder_may_be_written_short(
    model: HashModel, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    assert model.encode_images(["~/red.png"]).shape == (1, 64)
    (tmp_path / "linked").symlink_to(tiny_model)
    for folder in ("~/linked", Path("~/linked"), tmp_path / "linked"):
        assert load_model(folder).fingerprint == model.fingerprint
    assert HashModel("~/linked").fingerprint == model.fingerprint


def test_the_first_photo_that_cannot_be_read_is_named(model: HashModel, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("buy milk")
    photos = [SKIMAGE / "chelsea.png", tmp_path / "notes.jpg", tmp_path / "gone.jpg"]
    with pytest.raises(HashcliError, match=r"notes\.jpg cannot be read: not an image"):
        model.encode_images(photos)
    with pytest.raises(HashcliError, match=r"gone\.jpg cannot be read: no such file"):
        model.encode_images(photos[2:])
    with Image.open(SKIMAGE / "rocket.jpg") as photo:
        photo.save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:4000])
    with Image.open(tmp_path / "cut.jpg") as cut, pytest.raises(HashcliError, match="Image 2 of those given"):
        model.encode_images([photos[0], cut])
    results = dict(model.encode_image_files(map(str, photos)))
    assert [type(result).__name__ for result in results.values()] == [
        "ndarray",
        "UnreadableImageError",
        "FileNotFoundError",
    ]


def test_a_single_text_or_photo_is_not_a_list(model: HashModel) -> None:
    with pytest.raises(TypeError, match=r'\["a dog"\]'):
        model.encode_texts("a dog")
    with pytest.raises(TypeError, match=r'\["dog\.jpg"\]'):
        model.encode_images("dog.jpg")


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "own", seed=3)
    content = (folder / "text.onnx").read_bytes()
    (folder / "text.onnx").write_bytes(content[:-1] + b"?")
    with pytest.raises(HashcliError, match=r"text\.onnx is damaged"):
        load_model(folder)
    assert HashModel(folder).bits == 64  # a search does not check the digests
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(HashcliError, match=r"tokenizer\.json cannot be loaded"):
        HashModel(folder).encode_texts(["a cat"])


def test_a_word_list_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(find_model("lite-256"), tmp_path / "own")
    (folder / "word_list.txt").unlink()
    model = HashModel(folder)
    assert model.known_words("a dog").any_known  # the list is read for words that are split alone
    with pytest.raises(HashcliError, match=r"word_list\.txt cannot be read"):
        model.known_words("a blorp")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 99}', "format this version of hashcli does not read"),
        ('{"format": 1, "bits": 64}', "is damaged"),
    ],
)
def test_a_broken_description_is_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(HashcliError, match=problem) as raised:
        load_model(tmp_path)
    assert str(tmp_path) in raised.value.problem


def test_a_description_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "own", seed=3) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bits": 72}))
    with pytest.raises(HashcliError, match="changed by hand"):
        load_model(tmp_path / "own")


def test_models_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own model is found by its name, but one that ships is not replaced by it."""
    own = make_tiny_model(tmp_path / "models" / "own", seed=3)
    make_tiny_model(tmp_path / "models" / "lite-256", seed=3)
    monkeypatch.setattr(registry, "user_data_path", lambda _: tmp_path)
    assert load_model("own").folder == own
    assert load_model().bits == 256
    with pytest.raises(HashcliError, match=r"no hash model 'onw'\. Did you mean own") as raised:
        load_model("onw")
    assert "lite-256, own" in raised.value.remedy
    with pytest.raises(HashcliError, match="is not a hash model: it has no"):
        load_model(tmp_path)


def test_photos_are_resized_with_the_models_own_interpolation(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny", seed=0)
    path = SKIMAGE / "chelsea.png"
    pixels = {}
    for interpolation in ("bicubic", "bilinear"):
        description = HashModel(folder).description
        image = replace(description.image, interpolation=interpolation)
        replace(description, image=image).write(folder)
        pixels[interpolation] = HashModel(folder).load_pixels(path)
    with Image.open(path) as photo:
        for name, method in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)):
            expected = photo.convert("RGB").resize((8, 8), method, reducing_gap=2.0)
            assert np.array_equal(pixels[name], np.asarray(expected))
    assert not np.array_equal(pixels["bicubic"], pixels["bilinear"])


def test_padding_of_the_full_length_is_kept_and_any_other_is_not(tmp_path: Path) -> None:
    """Some text encoders read their padding. One of another length came with the tokenizer and means nothing."""
    folder = make_tiny_model(tmp_path / "tiny", seed=0)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    description = HashModel(folder).description
    for length, expected in ((description.text.max_tokens, description.text.max_tokens), (5, 2), (None, 2)):
        tokenizer.enable_padding(pad_id=0, length=length)
        tokenizer.save(str(folder / "tokenizer.json"))
        description.write(folder)
        rows = HashModel(folder)._tokenizer.encode_batch(["a", "a cat"])
        assert [len(row.ids) for row in rows] == [expected] * 2
        assert sum(rows[0].attention_mask) == 1
