"""ITQ's hash layers: what the paper promises of them, and that they are the baseline of the same name."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation import baselines
from hashcli.distillation.itq import ItqSettings, fit_itq
from hashcli.distillation.trainer import HashHeads
from hashcli.hashmodel.codes import pack

SETTINGS = ItqSettings(method="itq")


def make_features(n: int, seed: int, width: int = 24) -> np.ndarray:
    """float32 [n, width] of unit length around a mean that the seed decides, spread more along some axes."""
    rng = np.random.default_rng(seed)
    made = rng.standard_normal(width) + rng.standard_normal((n, width)) * np.linspace(0.2, 1, width)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def outputs_of(layers: HashHeads, image: np.ndarray, text: np.ndarray) -> list[np.ndarray]:
    return [layers.image(torch.from_numpy(image)).numpy(), layers.text(torch.from_numpy(text)).numpy()]


@pytest.mark.parametrize("bits", [16, 24, 40])
def test_the_codes_are_those_of_the_baseline(bits: int) -> None:
    """Also with more bits than the teacher has features."""
    image, text = make_features(200, seed=1), make_features(200, seed=2)
    photos, sentences = image - image.mean(axis=0), text - text.mean(axis=0)
    expected = baselines.itq(np.concatenate([photos, sentences]), photos, sentences, bits, seed=0)
    layers = fit_itq(image, text, bits, SETTINGS)
    for outputs, codes in zip(outputs_of(layers, image, text), expected, strict=True):
        assert np.bitwise_count(pack(outputs) ^ codes).sum() <= 0.001 * outputs.size


def test_the_layers_are_one_rotation_and_each_side_is_centred() -> None:
    image, text = make_features(300, seed=1), make_features(200, seed=2)
    layers = fit_itq(image, text, 16, SETTINGS)
    for layer in (layers.image, layers.text):
        scale = float(layer.weight[0].norm())
        assert (layer.weight @ layer.weight.T / scale**2).numpy() == pytest.approx(np.eye(16), abs=1e-5)
    assert torch.nn.functional.cosine_similarity(layers.image.weight, layers.text.weight).min() > 1 - 1e-5
    for outputs in outputs_of(layers, image, text):
        assert outputs.mean(axis=0) == pytest.approx(0, abs=1e-4)
        assert np.abs(outputs).mean() == pytest.approx(1, abs=1e-4)


def test_signs_lose_less_than_with_random_rotations() -> None:
    image, text = make_features(300, seed=1), make_features(300, seed=2)
    outputs = np.concatenate(outputs_of(fit_itq(image, text, 16, SETTINGS), image, text))

    def lost(outputs: np.ndarray) -> float:
        return float(((outputs - np.sign(outputs)) ** 2).mean())

    rng = np.random.default_rng(0)
    others = [lost(outputs @ np.linalg.qr(rng.standard_normal((16, 16)))[0]) for _ in range(20)]
    assert lost(outputs) < 0.95 * min(others)


def test_few_photos_weigh_as_much_as_many_sentences() -> None:
    """As if each were there four times. The seed decides, and another seed gives another rotation."""
    image, text = make_features(50, seed=1), make_features(200, seed=2)
    few, repeated, other = (
        fit_itq(photos, text, 16, ItqSettings(method="itq", seed=seed)).image.weight.numpy()
        for photos, seed in ((image, 0), (np.tile(image, (4, 1)), 0), (image, 1))
    )
    assert few == pytest.approx(repeated, abs=1e-4)
    assert few != pytest.approx(other, abs=1e-1)


def test_more_features_than_are_used_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashcli.distillation.itq.MOST", 100)
    image, text = make_features(400, seed=1), make_features(40, seed=2)
    for outputs in outputs_of(fit_itq(image, text, 16, SETTINGS), image, text):
        assert outputs.mean(axis=0) == pytest.approx(0, abs=1e-4)  # the mean is that of all


def test_photos_that_are_all_the_same_give_outputs_that_are_numbers() -> None:
    image, text = np.repeat(make_features(1, seed=1), 20, axis=0), make_features(200, seed=2)
    assert all(np.isfinite(outputs).all() for outputs in outputs_of(fit_itq(image, text, 16, SETTINGS), image, text))
