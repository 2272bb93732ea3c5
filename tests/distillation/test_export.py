"""A student as a hash-model folder: what it gives is what torch gives."""

import copy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from unicodedata import ucd_3_2_0

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
import onnxruntime
import torch
from torch.nn import functional

from hashcli.datasets.vocabulary import bag_of_words, build_vocabulary, words_of
from hashcli.distillation.card import ModelCard
from hashcli.distillation.export import StudentEncoders, _bag_tokenizer, export_hash_model
from hashcli.distillation.export_check import check_outputs
from hashcli.distillation.heads import HashHead, HashLayer
from hashcli.distillation.onnx_graphs import append_head, export_image_encoder
from hashcli.distillation.open_towers import open_image_tower
from hashcli.distillation.reparameterise import reparameterised
from hashcli.distillation.towers import ExportedTower, HashModelTower, ImageTower, TorchImageTower
from hashcli.distillation.trainer import HashHeads
from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.description import read as read_description
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.tokenizer import known_words
from tests.distillation.small_clip import make_small_clip

torch.set_num_threads(1)

BITS = 24
VOCABULARY = ["dog", "cat", "été", "2007", "собака", "ὀδυσσεύς", "life"]
TEXTS = [
    "a dog",
    "Cat, cat; CAT! dog",
    "",
    "!!! ...",
    "plant_life 2007 ÉTÉ",
    "Собака ὈΔΥΣΣΕΎΣ",
    "nothing that is known",
    "word " * 3000 + "dog",
]


def drawn_heads(image_width: int, text_width: int) -> HashHeads:
    """Heads with outputs that are large and different, as trained ones are."""
    torch.manual_seed(3)
    heads = [HashHead(width, 32, BITS, 0.5).eval() for width in (image_width, text_width)]
    with torch.no_grad():
        for head in heads:
            head.first.weight.mul_(5)
            head.last.weight.mul_(5)
    return HashHeads(*heads)


def exported(folder: Path, heads: HashHeads, tower: ImageTower, text_tower: HashModelTower | None) -> HashModel:
    student = StudentEncoders(heads, tower, text_tower, [] if text_tower else VOCABULARY)
    return export_hash_model(folder, student, ModelCard("student", "soda", "none", [], "# A student\n"))


def assert_same(given: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std(axis=0).mean() > 0.03  # items are told apart
    assert given == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(pack(given), pack(expected))


def assert_photos_same(model: HashModel, heads: HashHeads, tower: ImageTower, photos: list[str]) -> None:
    """The folder's outputs, one photo at a time and all together, against the tower's features through the head."""
    features = np.stack([one for one in tower.encode_images(photos) if isinstance(one, np.ndarray)])
    with torch.inference_mode():
        expected = heads.image(functional.normalize(torch.from_numpy(features))).numpy()
    given = [output for _, output in model.encode_image_files(photos)]
    assert_same(np.stack([one for one in given if isinstance(one, np.ndarray)]), expected)
    alone = model.encode_pixels(model.load_pixels(photos[0])[None])
    assert alone == pytest.approx(expected[:1], abs=1e-4)


@pytest.fixture
def pictures(photos: Path) -> list[str]:
    return sorted(map(str, photos.rglob("*.png")))[:6]


def test_a_student_of_a_hash_model(tiny_model: Path, pictures: list[str], tmp_path: Path) -> None:
    tower = HashModelTower(str(tiny_model))
    heads = drawn_heads(tower.width, len(VOCABULARY))
    model = exported(tmp_path / "student", heads, tower, None)
    assert (model.bits, model.name) == (BITS, "student")
    assert (tmp_path / "student" / "README.md").read_text() == "# A student\n"
    assert_photos_same(model, heads, tower, pictures)
    with torch.inference_mode():
        expected = heads.text(torch.from_numpy(bag_of_words(TEXTS, VOCABULARY)).float()).numpy()
    assert_same(model.encode_texts(TEXTS), expected)
    for row, text in enumerate(TEXTS):
        assert model.encode_texts([text]) == pytest.approx(expected[row : row + 1], abs=1e-4)


def test_a_student_with_a_text_tower_and_a_student_of_that_student(
    tiny_model: Path, pictures: list[str], tmp_path: Path
) -> None:
    """The second has two heads, one upon the other. Both know the words that the first tower lists."""
    source = str(shutil.copytree(tiny_model, tmp_path / "tower"))
    (tmp_path / "tower" / "listed.txt").write_text("rockets\n")
    replace(read_description(tmp_path / "tower"), word_list="listed.txt").write(tmp_path / "tower")
    texts = ["a cat", "a dog", "rocket rocket", "a cat and a dog"]
    for name in ("first", "second"):
        tower = HashModelTower(source)
        heads = drawn_heads(tower.width, tower.width)
        model = exported(tmp_path / name, heads, tower, tower)
        assert_photos_same(model, heads, tower, pictures)
        with torch.inference_mode():
            features = functional.normalize(torch.from_numpy(tower.encode_texts(texts)))
            assert_same(model.encode_texts(texts), heads.text(features).numpy())
        source = str(tmp_path / name)
        assert model.description.word_list
        assert (model.folder / model.description.word_list).read_text() == "rockets\n"


def test_the_same_student_has_the_same_fingerprint(tiny_model: Path, tmp_path: Path) -> None:
    tower = HashModelTower(str(tiny_model))
    heads = drawn_heads(tower.width, len(VOCABULARY))
    first, again = (exported(tmp_path / name, heads, tower, None).fingerprint for name in ("first", "again"))
    assert first == again
    with torch.no_grad():
        heads.text.last.bias[0] += 0.5
    assert exported(tmp_path / "other", heads, tower, None).fingerprint != first


def test_a_student_on_timm(pictures: list[str], tmp_path: Path) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    tower = open_image_tower("timm:mobilenetv3_small_050/random")
    heads = drawn_heads(tower.width, len(VOCABULARY))
    assert_photos_same(exported(tmp_path / "student", heads, tower, None), heads, tower, pictures)


def test_a_student_on_open_clip(pictures: list[str], tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    tower = open_image_tower(f"local-dir:{make_small_clip(tmp_path / 'clip')}")
    heads = drawn_heads(tower.width, len(VOCABULARY))
    assert_photos_same(exported(tmp_path / "student", heads, tower, None), heads, tower, pictures)
    assert torch.backends.mha.get_fastpath_enabled()  # as it was


@pytest.mark.parametrize("kind", ["torch", "hash model"])
def test_the_tower_inside_an_exported_model(kind: str, tiny_model: Path, pictures: list[str], tmp_path: Path) -> None:
    """Without its head it gives the tower's features, and can be exported with another head, again and again."""
    pytest.importorskip("timm", exc_type=ImportError)
    tower = open_image_tower("timm:mobilenetv3_small_050/random" if kind == "torch" else str(tiny_model))
    features = np.stack([one for one in tower.encode_images(pictures) if isinstance(one, np.ndarray)])
    heads = drawn_heads(tower.width, len(VOCABULARY))
    exported(tmp_path / "0", heads, tower, None)
    for number in (1, 2):
        inside = ExportedTower(tmp_path / str(number - 1), "key")
        assert (inside.key, inside.width, inside.size, inside.resize) == ("key", tower.width, tower.size, tower.resize)
        given = np.stack([one for one in inside.encode_images(pictures) if isinstance(one, np.ndarray)])
        assert given == pytest.approx(functional.normalize(torch.from_numpy(features)).numpy(), abs=1e-5)
        with torch.no_grad():
            heads.image.last.bias.add_(1)
        assert_photos_same(exported(tmp_path / str(number), heads, inside, None), heads, tower, pictures)


def test_a_linear_output_layer_for_photos(tiny_model: Path, tmp_path: Path) -> None:
    """On a tower of torch, and on the graph of a hash model."""
    pytest.importorskip("timm", exc_type=ImportError)
    torch_tower, hash_tower = open_image_tower("timm:mobilenetv3_small_050/random"), HashModelTower(str(tiny_model))
    assert isinstance(torch_tower, TorchImageTower)
    torch.manual_seed(0)
    torch_layer, hash_layer = (HashLayer(tower.width, BITS) for tower in (torch_tower, hash_tower))
    with torch.no_grad():
        torch_layer.weight.mul_(50)  # an untrained tower gives nearly the same for all photos
    export_image_encoder(torch_tower, torch_layer, tmp_path / "torch.onnx")
    append_head(onnx.load(tiny_model / "image.onnx"), hash_layer, tmp_path / "hash.onnx")
    rng = np.random.default_rng(0)
    for tower, layer, name in ((torch_tower, torch_layer, "torch"), (hash_tower, hash_layer, "hash")):
        pixels = rng.integers(0, 256, (3, tower.size, tower.size, 3), np.uint8)
        with torch.inference_mode():
            features = (
                tower(torch.from_numpy(pixels))
                if isinstance(tower, TorchImageTower)
                else torch.from_numpy(tower.model.encode_pixels(pixels))
            )
            expected = layer(functional.normalize(features)).numpy()
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        assert_same(session.run(["output"], {"pixels": pixels})[0], expected)


def test_a_tower_of_several_branches_is_exported_as_one(pictures: list[str], tmp_path: Path) -> None:
    """And stays as it is itself, since it may be trained further."""
    pytest.importorskip("timm", exc_type=ImportError)
    tower = open_image_tower("timm:mobileone_s0/random")
    assert isinstance(tower, TorchImageTower)
    with torch.no_grad():
        for name, buffer in tower.encoder.named_buffers():  # as after training: the branches differ
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    count = len(list(tower.parameters()))
    assert len(list(reparameterised(tower).parameters())) < 0.5 * count
    heads = drawn_heads(tower.width, len(VOCABULARY))
    with torch.no_grad():
        heads.image.last.weight.mul_(10)  # an untrained tower gives nearly the same for all photos
    assert_photos_same(exported(tmp_path / "student", heads, tower, None), heads, tower, pictures[:3])
    assert len(list(tower.parameters())) == count


def test_branches_that_cannot_be_merged_without_a_difference_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    tower = open_image_tower("timm:mobileone_s0/random")
    assert isinstance(tower, TorchImageTower)
    other = copy.deepcopy(tower)
    other.mean.add_(50)
    monkeypatch.setattr("timm.utils.model.reparameterize_model", lambda _: other)
    with pytest.raises(HashcliError, match="gives other features after its branches are merged"):
        reparameterised(tower)


def test_a_model_without_a_hash_head_has_no_tower_inside(tiny_model: Path) -> None:
    with pytest.raises(HashcliError, match="does not end with a hash head"):
        ExportedTower(tiny_model, "key")


def test_every_letter_is_read_as_in_training() -> None:
    """Each character that any Python knows, within a word if it is of one and between two words if not."""
    known = [chr(code) for code in range(sys.maxunicode + 1) if ucd_3_2_0.category(chr(code)) not in ("Cs", "Cn")]
    for start in range(0, len(known), 100):
        text = " ".join(f"a{char}b" for char in known[start : start + 100])
        assert _bag_tokenizer(build_vocabulary([text])).encode(text).tokens == words_of(text)


def test_greek_words_end_as_in_training() -> None:
    """A capital sigma becomes one of two letters, by its place in the word."""
    for text in ("ΟΔΟΣ", "Σ", "ΣΑΣ ΟΔΟΣ", "Α.Σ.", "ΑΣ'Α", "ΟΔΟΣ2", "ας"):
        vocabulary = build_vocabulary([text])
        assert _bag_tokenizer(vocabulary).encode(text).tokens == words_of(text)


def test_a_bag_of_words_knows_its_vocabulary_alone() -> None:
    tokenizer = _bag_tokenizer(["dog", "snow"])
    assert known_words(tokenizer, "Dog, snow!") == (True, ())
    assert known_words(tokenizer, "A Dog") == (True, ("A",))
    assert known_words(tokenizer, "Xylophone quark") == (False, ("Xylophone", "quark"))


def test_an_export_that_is_not_the_trained_model_is_refused() -> None:
    trained = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    check_outputs(trained + 5e-5, trained, "image")
    with pytest.raises(HashcliError, match="The exported image encoder differs from the trained one: outputs by up to"):
        check_outputs(trained + 0.1, trained, "image")
    with pytest.raises(HashcliError, match="outputs by up to nan"):
        check_outputs(trained, trained * np.float32("nan"), "image")
    flipped = np.full((64, 64), 1e-5, np.float32)  # outputs near nothing: the difference is small, the bits are not
    with pytest.raises(HashcliError, match=r"100\.00% of the bits"):
        check_outputs(-flipped, flipped, "text")
