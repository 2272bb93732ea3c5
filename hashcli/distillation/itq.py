"""ITQ, iterative quantisation (Gong and Lazebnik, CVPR 2011): linear hash layers on a teacher's towers, untrained.

Photos and sentences need not be pairs. Each modality is centred by its own mean, since a CLIP's photos and texts lie in
two cones apart from each other: with one mean for both, many bits would only tell photos from texts.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hashcli.distillation.heads import HashLayer
from hashcli.distillation.settings import UnpairedSettings, code_lengths
from hashcli.distillation.trainer import HashHeads, OnEpoch, UnpairedMethod

ROUNDS = 50  # as in the paper
MOST = 6_000  # photos, and sentences, that the rotation is fitted on: each round multiplies matrices with all of them


@dataclass(frozen=True, kw_only=True)
class ItqSettings(UnpairedSettings):
    bits: tuple[int, ...] = code_lengths((256,), "code lengths; each is fitted on its own")


def fit_itq(
    image: np.ndarray, text: np.ndarray, bits: int, settings: ItqSettings, on_epoch: OnEpoch | None = None
) -> HashHeads:
    """Hash layers for a teacher's features of photos [n, width] and sentences [m, width].

    Both modalities have the same weight: with fewer photos than sentences, photos are repeated, and the reverse. There
    are no epochs to report.
    """
    means = [one.mean(axis=0, dtype=np.float64) for one in (image, text)]
    count = min(max(len(image), len(text)), MOST)
    rng = np.random.default_rng(settings.seed)
    training = np.concatenate(
        [one[_rows(len(one), count, rng)] - mean for one, mean in zip((image, text), means, strict=True)]
    )
    directions = principal_directions(training, bits)
    basis = directions @ itq_rotation(training @ directions, settings.seed)
    return HashHeads(*(_layer(one, mean, basis) for one, mean in zip((image, text), means, strict=True)))


def principal_directions(training: np.ndarray, bits: int) -> np.ndarray:
    """Centred features [m, width] to directions float64 [width, bits] of length 1: those of largest variance first.

    Where there are fewer directions than bits, random ones follow.
    """
    _, vectors = np.linalg.eigh(training.T.astype(np.float64) @ training)
    principal = vectors[:, ::-1][:, :bits]
    more = bits - principal.shape[1]
    if more > 0:
        drawn = np.random.default_rng(0).standard_normal((training.shape[1], more))
        principal = np.concatenate([principal, drawn / np.linalg.norm(drawn, axis=0)], axis=1)
    return np.asarray(principal)


def itq_rotation(projected: np.ndarray, seed: int, rounds: int = ROUNDS) -> np.ndarray:
    """The rotation R float64 [bits, bits] that brings V R near its signs, for V = `projected` [m, bits].

    From a random one on, it alternates between B = sign(V R) and the R that minimises ||B - V R||, which is an
    orthogonal Procrustes problem (the paper's equation 2): neither step makes the loss grow.
    """
    bits = projected.shape[1]
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))
    for _ in range(rounds):
        codes = np.where(projected @ rotation > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(codes.T @ projected)
        rotation = (left @ right).T
    return np.asarray(rotation)


def _rows(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """int64 [count]: some of n rows, or all of them, repeated if they are too few."""
    return np.sort(rng.choice(n, count, replace=False)) if n > count else np.arange(count) % n


def _layer(features: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> HashLayer:
    """The layer (x - mean) basis, scaled so that its outputs for the features [n, width] have mean magnitude 1.

    The scale changes no bit. It is that of trained heads, to which the tolerance of the export's check belongs.
    """
    weight = basis / max(np.abs((features - mean) @ basis).mean(), 1e-12)
    layer = HashLayer(*basis.shape)
    layer.weight.data = torch.from_numpy(weight.T.astype(np.float32))
    layer.bias.data = torch.from_numpy((-mean @ weight).astype(np.float32))
    return layer.requires_grad_(False)


METHOD = UnpairedMethod(
    "the teacher's own towers with linear hash layers, from photos without captions (CVPR 2011)", ItqSettings, fit_itq
)
