"""Features of photos and texts: right, kept, and computed anew when what they are of has changed."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image

from hashcli.distillation import towers
from hashcli.distillation.towers import (
    HashModelTower,
    TorchImageTower,
    image_features,
    open_image_tower,
    open_teacher,
    text_features,
)
from hashcli.errors import HashcliError
from hashcli.hashmodel.description import Resize
from hashcli.hashmodel.model import HashModel
from tests.distillation.small_clip import CONFIG, make_small_clip

torch.set_num_threads(1)


class Counted:
    """A tower that sees of a photo how large its file is, and counts the photos it has seen."""

    key = "counted"
    width = 2
    size = 8
    resize: Resize = "crop"

    def __init__(self, seconds: float = 0) -> None:
        self.seen = 0
        self.seconds = seconds

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        for path in paths:
            self.seen += 1
            time.sleep(self.seconds)
            yield np.array([os.path.getsize(path), len(path)], np.float32)


def nothing(count: int) -> None:
    """Progress that no one asks for."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(number))
    return sorted(tmp_path.glob("*.jpg"))


def test_features_are_computed_once_and_told_of(files: list[Path], tmp_path: Path) -> None:
    tower = Counted()
    told: list[int] = []
    first = image_features(tower, files, "set", tmp_path / "cache", told.append)
    assert first[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert first.dtype == np.float32
    assert sum(told) == tower.seen == 5
    again = image_features(tower, files, "set", tmp_path / "cache", told.append)
    assert np.array_equal(first, again)
    assert isinstance(again, np.memmap)
    assert tower.seen == 5


def test_what_the_features_are_of_decides_which_are_reused(files: list[Path], tmp_path: Path) -> None:
    tower, cache = Counted(), tmp_path / "cache"
    image_features(tower, files, "set", cache, nothing)
    assert image_features(tower, files[:3], "set", cache, nothing).shape == (3, 2)
    assert tower.seen == 8
    assert image_features(tower, files[::-1], "set", cache, nothing)[0, 0] == 4
    assert tower.seen == 13
    tower.size = 16
    image_features(tower, files, "set", cache, nothing)
    assert tower.seen == 18


def test_a_photo_that_has_changed_is_seen_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, cache = Counted(), tmp_path / "cache"
    image_features(tower, files, "set", cache, nothing)
    files[2].write_bytes(bytes(100))
    assert image_features(tower, files, "set", cache, nothing)[2, 0] == 100
    other = tmp_path / "elsewhere"  # the same names from another working directory are other photos
    other.mkdir()
    names = [Path(path.name) for path in files]
    for path in files:
        (other / path.name).write_bytes(b"other")
        os.utime(other / path.name, ns=(0, 0))
        path.write_bytes(b"first")
        os.utime(path, ns=(0, 0))
    monkeypatch.chdir(tmp_path)
    image_features(tower, names, "set", cache, nothing)
    seen = tower.seen
    monkeypatch.chdir(other)
    image_features(tower, names, "set", cache, nothing)
    assert tower.seen == seen + 5


def test_what_is_interrupted_leaves_nothing_that_counts(files: list[Path], tmp_path: Path) -> None:
    def stop(count: int) -> None:
        if tower.seen == 3:
            raise KeyboardInterrupt

    tower, cache = Counted(), tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        image_features(tower, files, "set", cache, stop)
    assert list(cache.glob("*.npy")) == []
    assert image_features(tower, files, "set", cache, nothing)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_two_runs_at_once_compute_features_once(files: list[Path], tmp_path: Path) -> None:
    towers = [Counted(seconds=0.02), Counted(seconds=0.02)]
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(
            target=lambda tower=tower: results.append(image_features(tower, files, "set", tmp_path / "cache", nothing))
        )
        for tower in towers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tower.seen for tower in towers) == [0, 5]
    assert [result[:, 0].tolist() for result in results] == [[0, 1, 2, 3, 4]] * 2


def test_a_hash_model_gives_its_outputs(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    tower, text_tower = open_teacher(str(tiny_model))
    paths = sorted(photos.rglob("*.png"))
    features = image_features(tower, paths, "set", tmp_path / "cache", nothing)
    model = HashModel(tiny_model)
    assert features == pytest.approx(np.stack([model.encode_pixels(model.load_pixels(str(p))[None])[0] for p in paths]))
    texts = ["a cat", "a dog"] * 50
    told: list[int] = []
    given = text_features(text_tower, texts, "set", tmp_path / "cache", told.append)
    assert given == pytest.approx(model.encode_texts(texts), abs=1e-5)
    assert sum(told) == 100
    text_features(text_tower, texts, "set", tmp_path / "cache", told.append)
    assert sum(told) == 100


def test_a_photo_that_cannot_be_read_is_named(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    paths = sorted(photos.rglob("*.png"))
    paths[3].write_bytes(b"")
    with pytest.raises(HashcliError, match=f"{paths[3].name} cannot be read: "):
        image_features(HashModelTower(str(tiny_model)), paths, "set", tmp_path / "cache", nothing)
    assert list((tmp_path / "cache").glob("*.npy")) == []


def test_a_small_open_clip_model_from_a_folder(photos: Path, tmp_path: Path) -> None:
    """The same features as open_clip's own pipeline gives."""
    open_clip = pytest.importorskip("open_clip", exc_type=ImportError)
    folder = make_small_clip(tmp_path / "clip")
    tower, text_tower = open_teacher(f"local-dir:{folder}")
    assert (tower.size, tower.width, text_tower.width) == (32, 32, 32)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    paths = sorted(photos.rglob("*.png"))
    given = image_features(tower, paths, "set", tmp_path / "cache", nothing)
    texts = ["a cat", "a dog on the beach"]
    given_texts = text_features(text_tower, texts, "set", tmp_path / "cache", nothing)
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([preprocess(Image.open(path).convert("RGB")) for path in paths]))
        assert given_texts == pytest.approx(
            model.encode_text(open_clip.tokenize(texts, context_length=16)).numpy(), abs=1e-5
        )
    spread = float(expected.std(dim=0).mean())
    assert np.abs(given - expected.numpy()).mean() < 0.1 * spread  # resizing differs a little
    key = tower.key
    make_small_clip(folder, seed=1)
    assert open_teacher(f"local-dir:{folder}")[0].key != key


def test_pixels_are_normalised_as_the_model_asks(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    tower, _ = open_teacher(f"local-dir:{make_small_clip(tmp_path / 'clip')}")
    assert isinstance(tower, TorchImageTower)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    mean, std = (np.array(CONFIG["preprocess_cfg"][key], np.float32) for key in ("mean", "std"))
    normalised = torch.from_numpy(((pixels.numpy() / 255 - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.inference_mode():
        assert torch.allclose(tower(pixels), tower.encoder(normalised), atol=1e-5)


def test_a_timm_backbone(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    tower = open_image_tower("timm:mobilenetv3_small_050/random")
    again = open_image_tower("timm:mobilenetv3_small_050/random")
    paths = sorted(photos.rglob("*.png"))[:2]
    features = image_features(tower, paths, "set", tmp_path / "cache", nothing)
    assert features.shape == (2, tower.width)
    assert np.array_equal(features, np.stack(list(again.encode_images(map(str, paths)))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("local-dir:nowhere", "The teacher local-dir:nowhere cannot be loaded"),
        ("ViT-B-32/openai", "The teacher ViT-B-32/openai cannot be loaded"),
    ],
)
def test_a_teacher_that_cannot_be_loaded_names_the_other_ways(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(HashcliError, match=said) as raised:
        open_teacher(name)
    assert "--teacher lite-256" in raised.value.remedy
    assert "local-dir:FOLDER" in raised.value.remedy


def test_a_folder_without_weights_is_no_teacher(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    folder = make_small_clip(tmp_path / "clip")
    (folder / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(HashcliError, match="cannot be loaded"):
        open_teacher(f"local-dir:{folder}")


def test_backbones_that_there_are_not() -> None:
    with pytest.raises(HashcliError, match="There is no hash model 'nosuch'"):
        open_teacher("nosuch")
    pytest.importorskip("timm", exc_type=ImportError)
    with pytest.raises(HashcliError, match="'resnet19' is not among the architectures of timm") as raised:
        open_image_tower("timm:resnet19")
    assert "Did you mean resnet18?" in raised.value.problem


@pytest.mark.parametrize(
    ("name", "said", "near"),
    [
        ("ViT-B32/openai", "'ViT-B32' is not among the architectures of open_clip", "ViT-B-32"),
        ("ViT-B-32/datacomp_xl", "'datacomp_xl' is not among the weights of ViT-B-32", "datacomp_xl_s13b_b90k"),
    ],
)
def test_a_misspelt_teacher_gets_the_nearest_names(name: str, said: str, near: str) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    with pytest.raises(HashcliError, match=said) as raised:
        open_teacher(name)
    assert raised.value.problem.endswith(f"Did you mean {near}?")
    assert raised.value.remedy == "In Python, open_clip.list_pretrained() tells them all."


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    towers._ask_the_hub_only_if_it_answers()
    assert constants.HF_HUB_OFFLINE


def test_photos_come_to_their_size_as_the_model_asks(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)).save(tmp_path / "wide.png")
    features = {}
    for mode in ("shortest", "squash"):
        folder = make_small_clip(tmp_path / mode, resize_mode=mode)
        tower, _ = open_teacher(f"local-dir:{folder}")
        features[mode] = image_features(tower, [tmp_path / "wide.png"], "set", tmp_path / "cache", nothing)
        assert tower.resize == {"shortest": "crop", "squash": "squash"}[mode]
    assert not np.allclose(features["shortest"], features["squash"])
    with pytest.raises(HashcliError, match="brings photos to its size by 'longest'"):
        open_teacher(f"local-dir:{make_small_clip(tmp_path / 'longest', resize_mode='longest')}")


def test_half_precision_gives_other_features_that_are_close(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    name = f"local-dir:{make_small_clip(tmp_path / 'clip')}"
    paths = sorted(photos.rglob("*.png"))[:3]
    whole, half = (open_teacher(name, "cpu", precision) for precision in ("float32", "bfloat16"))
    assert whole[0].key != half[0].key
    assert whole[1].key != half[1].key
    one, other = (image_features(tower, paths, "set", tmp_path / "cache", nothing) for tower, _ in (whole, half))
    assert one.dtype == other.dtype == np.float32
    assert 0 < np.abs(one - other).max() < 0.1 * np.abs(one).max()
    texts = [tower.encode_texts(["a cat"]) for _, tower in (whole, half)]
    assert 0 < np.abs(texts[0] - texts[1]).max() < 0.1 * np.abs(texts[0]).max()
