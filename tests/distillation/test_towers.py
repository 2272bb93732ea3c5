"""Towers give the features that their libraries give, and are opened by name."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image

from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.open_towers import open_image_tower, open_teacher
from hashcli.distillation.pretrained_towers import skip_hub_if_offline
from hashcli.distillation.towers import TorchImageTower
from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from tests.distillation.small_clip import CONFIG, make_small_clip

torch.set_num_threads(1)


def nothing(count: int) -> None:
    """A progress callback that does nothing."""


def test_a_hash_model_gives_its_outputs(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    tower, text_tower = open_teacher(str(tiny_model))
    paths = sorted(photos.rglob("*.png"))
    features = FeatureCache(tmp_path / "cache", "set", nothing).images(tower, paths)
    model = HashModel(tiny_model)
    assert features == pytest.approx(np.stack([model.encode_pixels(model.load_pixels(str(p))[None])[0] for p in paths]))
    texts = ["a cat", "a dog"] * 50
    counts: list[int] = []
    given = FeatureCache(tmp_path / "cache", "set", counts.append).texts(text_tower, texts)
    assert given == pytest.approx(model.encode_texts(texts), abs=1e-5)
    assert sum(counts) == 100
    FeatureCache(tmp_path / "cache", "set", counts.append).texts(text_tower, texts)
    assert sum(counts) == 100


def test_a_small_open_clip_model_from_a_folder(photos: Path, tmp_path: Path) -> None:
    """The same features as open_clip's own pipeline gives."""
    open_clip = pytest.importorskip("open_clip", exc_type=ImportError)
    folder = make_small_clip(tmp_path / "clip")
    tower, text_tower = open_teacher(f"local-dir:{folder}")
    assert (tower.size, tower.width, text_tower.width) == (32, 32, 32)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    paths = sorted(photos.rglob("*.png"))
    given = FeatureCache(tmp_path / "cache", "set", nothing).images(tower, paths)
    texts = ["a cat", "a dog on the beach"]
    given_texts = FeatureCache(tmp_path / "cache", "set", nothing).texts(text_tower, texts)
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


def test_pixels_are_normalised_as_the_model_needs(tmp_path: Path) -> None:
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
    features = FeatureCache(tmp_path / "cache", "set", nothing).images(tower, paths)
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
    assert "lite-256" in raised.value.remedy
    assert "local-dir:FOLDER" in raised.value.remedy


def test_untrained_weights_by_an_architectures_name() -> None:
    """They are the same each time, since they are drawn from a fixed seed."""
    pytest.importorskip("open_clip", exc_type=ImportError)
    tower, again = (open_teacher("ViT-S-32-alt/random")[0] for _ in range(2))
    assert tower.key == "open_clip-ViT-S-32-alt/random"
    assert isinstance(tower, TorchImageTower)
    assert isinstance(again, TorchImageTower)
    pixels = torch.zeros(1, tower.size, tower.size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(tower(pixels), again(pixels))


def test_a_folder_without_weights_is_not_a_teacher(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    folder = make_small_clip(tmp_path / "clip")
    (folder / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(HashcliError, match="cannot be loaded"):
        open_teacher(f"local-dir:{folder}")


def test_a_backbone_that_does_not_exist_is_named() -> None:
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
    assert raised.value.remedy == "In Python, open_clip.list_pretrained() lists them all."


def test_a_hub_that_does_not_answer_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    skip_hub_if_offline()
    assert constants.HF_HUB_OFFLINE


def test_photos_are_resized_as_the_model_needs(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)).save(tmp_path / "wide.png")
    features = {}
    for mode in ("shortest", "squash"):
        folder = make_small_clip(tmp_path / mode, resize_mode=mode)
        tower, _ = open_teacher(f"local-dir:{folder}")
        features[mode] = FeatureCache(tmp_path / "cache", "set", nothing).images(tower, [tmp_path / "wide.png"])
        assert tower.resize == {"shortest": "crop", "squash": "squash"}[mode]
    assert not np.allclose(features["shortest"], features["squash"])
    with pytest.raises(HashcliError, match="resizes photos by 'longest'"):
        open_teacher(f"local-dir:{make_small_clip(tmp_path / 'longest', resize_mode='longest')}")


def test_half_precision_gives_other_features_that_are_close(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    name = f"local-dir:{make_small_clip(tmp_path / 'clip')}"
    paths = sorted(photos.rglob("*.png"))[:3]
    whole, half = (open_teacher(name, "cpu", precision) for precision in ("float32", "bfloat16"))
    assert whole[0].key != half[0].key
    assert whole[1].key != half[1].key
    one, other = (FeatureCache(tmp_path / "cache", "set", nothing).images(tower, paths) for tower, _ in (whole, half))
    assert one.dtype == other.dtype == np.float32
    assert 0 < np.abs(one - other).max() < 0.1 * np.abs(one).max()
    texts = [tower.encode_texts(["a cat"]) for _, tower in (whole, half)]
    assert 0 < np.abs(texts[0] - texts[1]).max() < 0.1 * np.abs(texts[0]).max()
