"""Towers give the features that their libraries give, and are opened by name."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image

from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.open_towers import open_image_tower, open_teacher
from hashcli.distillation.pretrained_towers import our_interpolation, skip_hub_if_offline
from hashcli.distillation.towers import BackboneTower, TorchImageTower, at_student_size, tower_pixels
from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from tests.distillation.small_clip import CONFIG, make_small_clip
from tests.distillation.small_text_towers import save_bert_clip

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
    assert sum(counts) == 200


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


def test_a_timm_backbone_with_weights_from_a_file(photos: Path, tmp_path: Path) -> None:
    """With its own interpolation, which is not bicubic. A classifier in the file is left out."""
    timm = pytest.importorskip("timm", exc_type=ImportError)
    torch.manual_seed(5)
    model = timm.create_model("test_resnet", pretrained=False).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    tower = open_image_tower(f"timm:test_resnet/{tmp_path / 'weights.pth'}")
    assert isinstance(tower, TorchImageTower)
    assert (tower.size, tower.interpolation, tower.resize) == (160, "bilinear", "crop")
    pixels = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
        assert torch.allclose(tower.encoder(pixels), expected, atol=1e-5)
    drawn = open_image_tower("timm:test_resnet/random")
    assert drawn.key != tower.key
    torch.save({"conv": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(HashcliError, match=r"timm:test_resnet/.*other\.pth cannot be loaded"):
        open_image_tower(f"timm:test_resnet/{tmp_path / 'other.pth'}")
    with pytest.raises(HashcliError, match="there is no file nowhere"):
        open_image_tower("timm:test_resnet/nowhere")


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


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))


def test_a_teacher_from_the_hub(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_small_clip(tmp_path / "clip")
    downloaded: list[str] = []

    def download(model_id: str, filename: str = "open_clip_pytorch_model.bin", **_: object) -> str:
        downloaded.append(model_id)
        return str(folder / filename)

    monkeypatch.setattr("open_clip.factory.download_pretrained_from_hf", download)
    tower, text = open_teacher("hf-hub:someone/small")
    assert set(downloaded) == {"someone/small"}
    assert tower.key == text.key == "open_clip-hf-hub:someone/small"
    assert np.array_equal(text.encode_texts(["a"]), open_teacher(f"local-dir:{folder}")[1].encode_texts(["a"]))


def test_a_teacher_from_a_file_of_weights(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the name is a path, because a folder is called like the architecture."""
    weights = make_small_clip(tmp_path / "small-arch") / "open_clip_pytorch_model.bin"
    monkeypatch.setitem(open_clip_configs(), "small-arch", CONFIG["model_cfg"])
    expected = open_teacher(f"local-dir:{weights.parent}")[1].encode_texts(["a"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / weights.name).write_bytes(weights.read_bytes())
    keys = set()
    for file in (weights.name, str(weights)):
        tower, text = open_teacher(f"small-arch/{file}")
        assert np.array_equal(text.encode_texts(["a"]), expected)
        keys.add(tower.key)
    (key,) = keys
    assert key.startswith("open_clip-small-arch-")


@pytest.mark.parametrize(
    ("name", "is_needed"),
    [
        ("ViT-B-32/openai", True),
        ("ViT-B-32-quickgelu/openai", False),  # the architecture has it already
        ("ViT-B-32/datacomp_xl_s13b_b90k", False),
        ("ViT-B-32/random", False),
    ],
)
def test_weights_get_the_activation_they_were_trained_with(
    name: str, is_needed: bool, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip computes OpenAI's weights with another one, unless asked."""
    asked: list[bool] = []

    def create(arch: str, pretrained: str | None, force_quick_gelu: bool) -> None:
        asked.append(force_quick_gelu)
        raise ConnectionError("no network")

    monkeypatch.setattr("open_clip.create_model_and_transforms", create)
    with pytest.raises(HashcliError, match="no network"):
        open_teacher(name)
    assert asked == [is_needed]


def open_clip_configs() -> dict[str, object]:
    from open_clip import factory

    return factory._MODEL_CONFIGS  # type: ignore[no-any-return]


def test_a_missing_library_is_named(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the network, which has nothing to do with it."""
    for missing in ("tokenizer", "text half"):
        folder = make_small_clip(tmp_path / missing)
        content = json.loads((folder / "open_clip_config.json").read_text())
        name = "hf_tokenizer_name" if missing == "tokenizer" else "hf_model_name"
        content["model_cfg"]["text_cfg"][name] = str(folder)
        (folder / "open_clip_config.json").write_text(json.dumps(content))
        monkeypatch.setitem(sys.modules, "transformers", None)
        monkeypatch.setattr("open_clip.hf_model.transformers", None)
        with pytest.raises(HashcliError, match="the library transformers, which is not installed") as raised:
            open_teacher(f"local-dir:{folder}")
        assert raised.value.remedy == "Install it: pip install 'hashcli[train]'"


def test_photos_are_resized_with_the_models_own_interpolation(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    paths = sorted(photos.rglob("*.png"))[:2]
    features = {}
    for interpolation in ("bicubic", "bilinear"):
        folder = make_small_clip(tmp_path / "clip", interpolation=interpolation)
        tower, _ = open_teacher(f"local-dir:{folder}")
        assert tower.interpolation == interpolation
        features[interpolation] = np.stack(list(tower.encode_images(map(str, paths))))  # type: ignore[arg-type]
    assert not np.allclose(features["bicubic"], features["bilinear"])
    assert our_interpolation("The teacher", "random") == "bicubic"  # as open_clip does, outside of training
    with pytest.raises(HashcliError, match="resizes photos with 'nearest' interpolation"):
        our_interpolation("The teacher", "nearest")


def test_photos_that_are_not_square_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    folder = make_small_clip(tmp_path / "clip", image_size=[32, 64])
    with pytest.raises(HashcliError, match="reads photos of 64 x 32 pixels"):
        open_teacher(f"local-dir:{folder}")


def test_a_pooling_that_fails_in_open_clip_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    pytest.importorskip("transformers", exc_type=ImportError)
    folder = save_bert_clip(tmp_path / "clip", "max_pooler")
    with pytest.raises(HashcliError, match="takes the maximum over a text's tokens, which fails in open_clip"):
        open_teacher(f"local-dir:{folder}")


def enlarged(photo: np.ndarray, size: int) -> np.ndarray:
    """uint8 [h, h, 3] by plain bilinear interpolation at pixel centres, not yet rounded."""
    places = np.clip((np.arange(size) + 0.5) * len(photo) / size - 0.5, 0, len(photo) - 1)
    low = np.minimum(places.astype(int), len(photo) - 2)
    share = (places - low)[:, None]
    rows = photo[low] * (1 - share[:, None]) + photo[low + 1] * share[:, None]
    return np.asarray(rows[:, low] * (1 - share) + rows[:, low + 1] * share)


def test_a_student_of_small_photos_sees_them_enlarged(photos: Path, tiny_model: Path) -> None:
    whole = BackboneTower(str(tiny_model))
    small = at_student_size(whole, 5)
    assert (small.size, small.width, small.key) == (5, whole.width, f"{whole.key}-at-5")
    path = str(photos / "coffee.png")
    expected = whole._encode(enlarged(tower_pixels(small, path).astype(float), 8).round().astype(np.uint8)[None])
    (found,) = small.encode_images([path])
    assert isinstance(found, np.ndarray)
    assert found == pytest.approx(expected[0], abs=1.01)  # where a value lies between two whole numbers
    assert np.mean(np.abs(found - expected[0]) < 0.01) > 0.95
    assert at_student_size(whole, 8) is whole

    timm = pytest.importorskip("timm", exc_type=ImportError)
    assert timm
    torch_tower = open_image_tower("timm:test_resnet/random")
    assert isinstance(torch_tower, TorchImageTower)
    small = at_student_size(torch_tower, 40)
    (found,) = small.encode_images([path])
    photo = torch.from_numpy(enlarged(tower_pixels(small, path).astype(float), torch_tower.size)).permute(2, 0, 1)
    with torch.inference_mode():
        seen = (photo[None].float() - torch_tower.mean) / torch_tower.std
        assert found == pytest.approx(torch_tower.encoder(seen)[0].numpy(), abs=1e-3)
    with pytest.raises(HashcliError, match=f"takes photos of {torch_tower.size} pixels, which is less than 4096"):
        at_student_size(torch_tower, 4096)
