"""Hash layers that learn to rank as a teacher does, without pairs: any photos and any sentences. Our own method.

1. The teacher's space is improved as a target. Each modality is centred by its own mean, since a CLIP's photos and
   texts lie in two cones apart from each other; both are whitened a little along the photos' principal directions.
   From a cosine, a share of the mean cosine with the ten nearest items of the other modality is taken off, since some
   items are near to everything (CSLS, Conneau et al. 2018). With `whitening=0 hub_share=0` the target is the centred
   cosine.
2. The layers start from ITQ in blocks of bits: each block is fitted on what a linear decoder of the earlier bits
   leaves over. So a prefix is a code as well, down to 128 bits, and there may be more bits than features. Photos and
   sentences have one weight matrix and a bias each, since centred and whitened alike they lie in one space. Two
   matrices overfit: with them, codes find less among photos that were not trained on.
3. They are trained on batches of photos and of sentences. Over a batch, the codes' scores of all photos for a sentence,
   and of all sentences for a photo, become distributions by softmax, and should be as the target's are
   (Kullback-Leibler divergence). Gradients go through the sign as through tanh (Bengio et al. 2013).

A score is that of `Index.search`: the query's outputs times the item's bits, as -1 and +1.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.heads import HashLayer, WhitenedHashLayer
from hashcli.distillation.itq import itq_rotation, principal_directions
from hashcli.distillation.losses import balance, code_scores, ranking_divergence, signs
from hashcli.distillation.settings import UnpairedSettings, code_lengths, number
from hashcli.distillation.trainer import HashHeads, OnEpoch, UnpairedMethod
from hashcli.distillation.training_loop import EpochReport

BLOCKS = (128, 256, 512)  # prefixes of these lengths are trained as codes of their own
BLOCK_SHARES = (0.4, 0.6, 1.0)  # how often each of them is trained, in proportion; the last is the full code's
NEIGHBOURS = 10  # nearest items of the other modality by which a hub is known
NEAREST_SENTENCES = 3  # of each photo: sentences that are near to no photo are left out
VARIANCE_FLOOR = 0.1  # of the mean variance: whitening must not blow up directions that hold only noise
DECODER_RIDGE = 0.02
MOST = 6_000  # photos, and sentences, that a block starts from: each round of ITQ multiplies matrices with all of them
PHOTOS, SENTENCES = 384, 512  # in a batch
TARGET_SCALE = 35.0  # of the target before its softmax: the larger, the more the nearest items alone count
IMAGE_QUERY_WEIGHT = 0.5  # of the loss of photos as queries; that of sentences as queries is 1
MIXED = 0.5  # share of a batch that is moved towards another item, by at most half: the layers see more points
SYMMETRIC = 0.2  # share of the steps in which bits are compared with bits, as in the first step of a search
EPOCH = 100  # steps between two reports
LEARNING_RATE, SCALE_LEARNING_RATE = 2e-3, 1e-2


@dataclass(frozen=True, kw_only=True)
class RankSettings(UnpairedSettings):
    """The defaults were chosen for how often the right photo is found, not for the teacher's own order."""

    bits: tuple[int, ...] = code_lengths((256,), "code lengths; each is trained on its own")
    steps: int = number(800, 20, 10**6, "batches to train on")
    whitening: float = number(0.12, 0, 0.5, "how much the features are whitened: 0 not at all, 0.5 fully")
    hub_share: float = number(0.4, 0, 1, "share of an item's mean cosine with its nearest taken off its cosines")


@dataclass(frozen=True)
class _Side:
    """One modality: its whitening as a linear map, its whitened features [n, width], and what a hub loses [n]."""

    whiten: nn.Linear
    features: Tensor
    hubs: Tensor


def train_rank(
    image: np.ndarray,
    text: np.ndarray,
    bits: int,
    settings: RankSettings,
    on_epoch: OnEpoch = lambda epoch: None,
) -> HashHeads:
    """Hash layers for a teacher's features of photos [n, width] and sentences [m, width], of unit length."""
    generator = torch.Generator().manual_seed(settings.seed)
    photos, sentences = _prepare(torch.from_numpy(image), torch.from_numpy(text), settings)
    ends = [*(end for end in BLOCKS if end < bits), bits]
    basis = _block_itq(_sample((photos, sentences), generator), ends, settings.seed)
    layers = _shared_layers(basis, photos.features, sentences.features)
    _train(layers, (photos, sentences), ends, settings, generator, on_epoch)
    image_layer, text_layer = (
        WhitenedHashLayer(side.whiten, layer).requires_grad_(False)
        for side, layer in zip((photos, sentences), layers, strict=True)
    )
    return HashHeads(image_layer, text_layer)


def _prepare(image: Tensor, text: Tensor, settings: RankSettings) -> tuple[_Side, _Side]:
    """Both modalities, with those sentences that are among the nearest of a photo."""
    whitener = whitening_matrix(image, settings.whitening)
    photos, sentences = (_whitening(one, whitener) for one in (image, text))
    near = _nearest_rows(_whitened(image, photos), _whitened(text, sentences))
    text = text[near]
    sentences = _whitening(text, whitener)
    features = _whitened(image, photos), _whitened(text, sentences)
    hubs = [settings.hub_share * _mean_cosine_with_nearest(*pair) for pair in (features, features[::-1])]
    return _Side(photos, features[0], hubs[0]), _Side(sentences, features[1], hubs[1])


def whitening_matrix(features: Tensor, exponent: float) -> Tensor:
    """Features [n, width] to a symmetric matrix [width, width]: their principal variances to the power -exponent."""
    centred = functional.normalize(features - features.mean(dim=0))
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances = variances.clamp(min=0) + VARIANCE_FLOOR * variances.mean()
    matrix: Tensor = directions * variances.pow(-exponent) @ directions.T
    return matrix


def _whitening(features: Tensor, whitener: Tensor) -> nn.Linear:
    """(x - mean) whitener, as a linear map."""
    linear = nn.Linear(*whitener.shape)
    linear.weight.data, linear.bias.data = whitener.T.contiguous(), -features.mean(dim=0) @ whitener
    return linear.requires_grad_(False)


def _whitened(features: Tensor, whiten: nn.Linear) -> Tensor:
    return functional.normalize(whiten(features))


def _nearest_rows(features: Tensor, others: Tensor) -> Tensor:
    """[n, width] and [m, width] to the places of those others that are among the nearest of a feature, in order."""
    near = torch.zeros(len(others), dtype=torch.bool)
    for rows in features.split(1024):  # type: ignore[no-untyped-call]
        near[(rows @ others.T).topk(min(NEAREST_SENTENCES, len(others))).indices.flatten()] = True
    return near.nonzero()[:, 0]


def _mean_cosine_with_nearest(features: Tensor, others: Tensor) -> Tensor:
    """[n, width] and [m, width], of unit length, to [n]."""
    nearest = min(NEIGHBOURS, len(others))
    parts = features.split(1024)  # type: ignore[no-untyped-call]
    return torch.cat([(rows @ others.T).topk(nearest).values.mean(dim=1) for rows in parts])


def _sample(sides: tuple[_Side, _Side], generator: torch.Generator) -> Tensor:
    """As many features of each modality, each centred: [2 * most, width]."""
    most = min(MOST, *(len(side.features) for side in sides))
    samples = []
    for side in sides:
        rows = torch.randperm(len(side.features), generator=generator)[:most]
        samples.append(side.features[rows] - side.features.mean(dim=0))
    return torch.cat(samples)


def _block_itq(samples: Tensor, ends: list[int], seed: int) -> Tensor:
    """Centred samples [n, width] to [width, bits], a block of bits after the other."""
    left_over, blocks, start = samples, [], 0
    for end in ends:
        training = (left_over - left_over.mean(dim=0)).numpy()
        directions = principal_directions(training, end - start)
        block = torch.from_numpy(directions @ itq_rotation(training @ directions, seed)).float()
        blocks.append(block / (samples @ block).abs().mean())
        codes = signs(samples @ torch.cat(blocks, dim=1))
        covariance = codes.T @ codes / len(codes) + DECODER_RIDGE * torch.eye(end)
        left_over = samples - codes @ torch.linalg.solve(covariance, codes.T @ samples / len(codes))
        start = end
    return torch.cat(blocks, dim=1)


def start_layer(basis: Tensor, features: Tensor) -> HashLayer:
    """The layer (x - mean) basis, whose outputs have mean magnitude 1."""
    mean = features.mean(dim=0)
    layer = HashLayer(*basis.shape)
    layer.weight.data = (basis / ((features - mean) @ basis).abs().mean()).T.contiguous()
    layer.bias.data = -layer.weight.data @ mean
    return layer


def _shared_layers(basis: Tensor, photos: Tensor, sentences: Tensor) -> list[HashLayer]:
    """The layers of whitened features [n, width] and [m, width], with one weight matrix for both."""
    image = start_layer(basis, photos)
    text = HashLayer(*basis.shape)
    text.weight = image.weight
    text.bias.data = -image.weight.data @ sentences.mean(dim=0)
    return [image, text]


def _train(
    layers: list[HashLayer],
    sides: tuple[_Side, _Side],
    ends: list[int],
    settings: RankSettings,
    generator: torch.Generator,
    on_epoch: OnEpoch,
) -> None:
    """Train the layers of photos and of sentences in place."""
    # Scores are bounded: how sharp their distributions are is learned, as logarithms, for each direction, for outputs
    # and for bits as the query, and for each length of code.
    log_scales = torch.full((2, 2, len(ends)), 3.3, requires_grad=True)
    parameters = list(nn.ModuleList(layers).parameters())  # those that the layers share are in it once
    optimiser = torch.optim.AdamW([{"params": parameters}, {"params": [log_scales]}], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [LEARNING_RATE, SCALE_LEARNING_RATE], total_steps=settings.steps, pct_start=0.1
    )
    shares = torch.tensor(BLOCK_SHARES[: len(ends)])
    losses, began = [], time.monotonic()
    for step in range(1, settings.steps + 1):
        length = int(torch.multinomial(shares, 1, generator=generator))
        symmetric = bool(torch.rand((), generator=generator) < SYMMETRIC)
        scales = log_scales[:, int(symmetric), length].exp()
        loss = _loss(layers, sides, ends[length], scales, symmetric, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % EPOCH == 0 or step == settings.steps:
            epoch, epochs = math.ceil(step / EPOCH), math.ceil(settings.steps / EPOCH)
            mean = {"ranking": sum(losses) / len(losses)}
            on_epoch(EpochReport("rank", epoch, epochs, mean, {}, time.monotonic() - began))
            losses, began = [], time.monotonic()


def _loss(
    layers: list[HashLayer],
    sides: tuple[_Side, _Side],
    length: int,
    scales: Tensor,
    symmetric: bool,
    generator: torch.Generator,
) -> Tensor:
    """The loss of one batch, on the first `length` bits; all bits should be 1 for half of the items."""
    batches = []
    for side, count in zip(sides, (PHOTOS, SENTENCES), strict=True):
        rows = torch.randint(len(side.features), (count,), generator=generator)
        batches.append((_mixed(side.features, rows, generator), side.hubs[rows]))
    (photos, photo_hubs), (sentences, sentence_hubs) = batches
    outputs = [layer(batch) for layer, (batch, _) in zip(layers, batches, strict=True)]
    of_photos, of_sentences = code_scores(outputs[0][:, :length], outputs[1][:, :length], symmetric=symmetric)
    cosines = sentences @ photos.T
    found = ranking_divergence(of_photos * scales[0], (cosines - photo_hubs) * TARGET_SCALE)
    described = ranking_divergence(of_sentences * scales[1], (cosines.T - sentence_hubs) * TARGET_SCALE)
    return found + IMAGE_QUERY_WEIGHT * described + balance(*(one.tanh() for one in outputs))


def _mixed(features: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Those rows [b, width]; a share of them is moved towards another item each, and has unit length again."""
    others = features[torch.randint(len(features), (len(rows),), generator=generator)]
    weight = 0.5 * torch.rand(len(rows), 1, generator=generator)
    weight = weight * (torch.rand(len(rows), 1, generator=generator) < MIXED)
    return functional.normalize((1 - weight) * features[rows] + weight * others)


METHOD = UnpairedMethod(
    "the teacher's own towers with hash layers that learn its ranking, from photos without captions (ours)",
    RankSettings,
    train_rank,
)
