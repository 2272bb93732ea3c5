"""Codes without training."""

import numpy as np
import pytest

pytest.importorskip("torch")

from hashcli.distillation import baselines
from hashcli.hashmodel.codes import unpack


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be packed is given back as it is."""
    monkeypatch.setattr(baselines, "pack", lambda outputs: outputs)


def test_principal_signs_in_two_dimensions() -> None:
    """The training features spread most along (1, 1), less along (1, -1): one bit for each, in this order."""
    training = np.array([[3.0, 3], [-3, -3], [1, -1], [-1, 1]])
    items = np.array([[5.0, 4], [-5, -4], [4, 5], [-4, -5]])
    image, text = baselines.principal_signs(training, items, items[::-1], bits=2)
    bits = unpack(image)[:, :2]
    assert np.array_equal(text, image[::-1])
    assert bits[:, 0].tolist() in ([1, -1, 1, -1], [-1, 1, -1, 1])
    assert bits[:, 1].tolist() in ([1, -1, -1, 1], [-1, 1, 1, -1])


@pytest.mark.usefixtures("outputs")
def test_directions_are_orthogonal_then_random_beyond_the_space() -> None:
    training = np.random.default_rng(0).standard_normal((50, 5)) * [5, 4, 3, 2, 1]
    directions, _ = baselines.principal_signs(training, np.eye(5), np.eye(5), bits=5)
    assert directions.T @ directions == pytest.approx(np.eye(5), abs=1e-9)
    spread = (training @ directions).var(axis=0)
    assert (np.diff(spread) < 0).all()
    more, _ = baselines.principal_signs(training, np.eye(5), np.eye(5), bits=8)
    assert more[:, :5] == pytest.approx(directions)
    assert np.linalg.norm(more[:, 5:], axis=0) == pytest.approx(1)


@pytest.mark.usefixtures("outputs")
def test_the_rotation_of_itq_is_orthogonal_and_its_loss_never_grows() -> None:
    training = np.random.default_rng(0).standard_normal((200, 12)) * np.linspace(0.5, 1.5, 12)
    directions, _ = baselines.principal_signs(training, np.eye(12), np.eye(12), bits=8)
    projected = training @ directions
    lost = []
    for rounds in range(12):
        rotated, _ = baselines.itq(training, np.eye(12), np.eye(12), bits=8, seed=0, rounds=rounds)
        rotation = directions.T @ rotated
        assert rotation.T @ rotation == pytest.approx(np.eye(8), abs=1e-9)
        outputs = projected @ rotation
        lost.append(((outputs - np.where(outputs > 0, 1, -1)) ** 2).sum())
    assert (np.diff(lost) <= 1e-9).all()
    assert lost[-1] < 0.9 * lost[0]


def test_itq_beats_plain_signs_where_the_principal_directions_are_a_bad_choice() -> None:
    """Four clusters on two diagonals: signs along the principal directions cut through two of them each."""
    rng = np.random.default_rng(0)
    corners = np.array([[4.0, 0], [-4, 0], [0, 3], [0, -3]])
    members = np.arange(400) % 4
    training = corners[members] + 0.3 * rng.standard_normal((400, 2))

    def agreement(codes: np.ndarray) -> float:
        """How often two items of one cluster have the same code."""
        alike = (unpack(codes)[:, None, :2] == unpack(codes)[None, :, :2]).all(axis=2)
        return float(alike[members[:, None] == members].mean())

    plain, _ = baselines.principal_signs(training, training, training, bits=2)
    rotated, _ = baselines.itq(training, training, training, bits=2, seed=0)
    assert agreement(plain) < 0.6
    assert agreement(rotated) > 0.99
