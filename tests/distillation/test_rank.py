"""The hash layers of `rank`: each of its steps, and that training brings the codes' order nearer to the target's."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from hashcli.distillation import rank
from hashcli.distillation.losses import code_scores
from hashcli.distillation.rank import RankSettings, train_rank, whitening_matrix
from hashcli.distillation.trainer import HashHeads
from hashcli.distillation.training_loop import EpochReport

BITS = 16


def make_features(n: int, seed: int, gap_seed: int, width: int = 24) -> np.ndarray:
    """float32 [n, width] of unit length around the mean of a modality, spread more along some axes."""
    gap = np.random.default_rng(gap_seed).standard_normal(width)
    made = gap + np.random.default_rng(seed).standard_normal((n, width)) * np.linspace(0.2, 1, width)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def make_settings(**values: float) -> RankSettings:
    return RankSettings(method="rank", **{"steps": 150, "whitening": 0.0, "hub_share": 0.0} | values)  # type: ignore[arg-type]


def found(layers: HashHeads, image: np.ndarray, text: np.ndarray) -> float:
    """The share of each text's ten nearest photos, by centred cosines, among the first ten by the codes' scores."""
    photos, texts = (functional.normalize(torch.from_numpy(one - one.mean(axis=0))) for one in (image, text))
    nearest = (texts @ photos.T).topk(10).indices
    with torch.no_grad():
        outputs = layers.image(torch.from_numpy(image)), layers.text(torch.from_numpy(text))
    first = code_scores(*outputs, symmetric=False)[0].topk(10).indices
    return float((nearest[:, :, None] == first[:, None]).any(dim=2).float().mean())


def test_training_brings_the_order_nearer_to_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """On photos and texts that were not trained on; from random directions, since ITQ is near the best for these."""
    random = torch.from_numpy(np.random.default_rng(0).standard_normal((24, BITS))).float()
    monkeypatch.setattr(rank, "_block_itq", lambda samples, ends, seed: random)
    monkeypatch.setattr(rank, "LEARNING_RATE", 0.02)
    image, text = make_features(400, 1, 10), make_features(400, 2, 20)
    others = make_features(200, 3, 10), make_features(100, 4, 20)
    before, after = (found(train_rank(image, text, BITS, make_settings(steps=steps)), *others) for steps in (20, 300))
    assert after > before + 0.05
    assert after > 0.3  # of 200 photos, ten at random are the nearest ten with a share of 0.05


def test_progress_is_reported_and_the_loss_falls() -> None:
    epochs: list[EpochReport] = []
    train_rank(make_features(100, 1, 10), make_features(100, 2, 20), BITS, make_settings(steps=250), epochs.append)
    assert [(epoch.number, epoch.of) for epoch in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert epochs[-1].losses["ranking"] < epochs[0].losses["ranking"]


def test_the_seed_decides_the_layers() -> None:
    image, text = make_features(60, 1, 10), make_features(80, 2, 20)
    first, again, other = (
        train_rank(image, text, BITS, make_settings(seed=seed, steps=20)).image.state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.allclose(first["last.weight"], other["last.weight"], atol=1e-2)


def test_photos_and_sentences_share_their_weights_but_not_their_biases() -> None:
    image, text = make_features(60, 1, 10), make_features(80, 2, 20)
    layers = train_rank(image, text, BITS, make_settings(steps=20))
    photos, sentences = (one.state_dict() for one in (layers.image, layers.text))
    assert torch.equal(photos["last.weight"], sentences["last.weight"])
    assert not torch.allclose(photos["last.bias"], sentences["last.bias"], atol=1e-3)


def test_there_may_be_more_bits_than_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block is then a code as well: half of the bits find less than all, and more than chance."""
    monkeypatch.setattr(rank, "BLOCKS", (32, 64))
    image, text = make_features(200, 1, 10), make_features(200, 2, 20)
    layers = train_rank(image, text, 64, make_settings(steps=100))
    assert layers.image.bits == 64
    with torch.no_grad():
        outputs = layers.image(torch.from_numpy(image)), layers.text(torch.from_numpy(text))
    photos, texts = (functional.normalize(torch.from_numpy(one - one.mean(axis=0))) for one in (image, text))
    nearest = (texts @ photos.T).topk(10).indices
    shares = []
    for length in (32, 64):
        scores = code_scores(*(one[:, :length] for one in outputs), symmetric=False)[0]
        shares.append(float((nearest[:, :, None] == scores.topk(10).indices[:, None]).any(dim=2).float().mean()))
    assert 0.4 < shares[0] < shares[1]


def test_whitening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fully whitened, the features vary alike in all directions; with 0, they stay as they are."""
    monkeypatch.setattr(rank, "VARIANCE_FLOOR", 0.0)
    features = torch.from_numpy(make_features(500, 1, 10)).double()
    centred = functional.normalize(features - features.mean(dim=0))
    whitened = centred @ whitening_matrix(features, 0.5)
    assert (whitened.T @ whitened / len(whitened)).numpy() == pytest.approx(np.eye(24), abs=1e-6)
    assert whitening_matrix(features, 0.0).numpy() == pytest.approx(np.eye(24), abs=1e-6)


def test_a_hub_loses_what_it_is_near_to_its_nearest() -> None:
    image, text = make_features(50, 1, 10), make_features(40, 2, 20)
    photos, _ = rank._prepare(torch.from_numpy(image), torch.from_numpy(text), make_settings(hub_share=0.5))
    _, sentences = rank._prepare(torch.from_numpy(image), torch.from_numpy(text), make_settings(hub_share=1.0))
    cosines = photos.features.numpy() @ sentences.features.numpy().T
    assert photos.hubs.numpy() == pytest.approx([0.5 * np.sort(row)[-10:].mean() for row in cosines], abs=1e-5)
    assert sentences.hubs.numpy() == pytest.approx([np.sort(row)[-10:].mean() for row in cosines.T], abs=1e-5)


def test_sentences_that_are_near_to_no_photo_are_left_out() -> None:
    image, text = make_features(3, 1, 10), make_features(400, 2, 20)
    _, sentences = rank._prepare(torch.from_numpy(image), torch.from_numpy(text), make_settings())
    assert 3 <= len(sentences.features) <= 9
