"""The hash layers: [a, c] and sentence vectors to 256 outputs whose signs are the code."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from hashcli.distillation.itq import itq_rotation, principal_directions
from hashcli.distillation.losses import balance, code_scores, ranking_divergence
from hashcli.distillation.rank import start_layer
from lite_256.projections import Guesses, map_text, teacher_photos, unit
from lite_256.settings import (
    BITS,
    CAPTIONS,
    CLASS_SHARE,
    HASH_BATCH,
    HASH_LOSSES,
    HASH_STEPS,
    PREFIXES,
    SYMMETRIC_SHARE,
    TEACHER_SCALE,
    WIDTH,
    Floats,
)


class ImageHead(nn.Module):
    def __init__(self, guesses: Guesses) -> None:
        super().__init__()
        self.guesses = guesses
        self.hash = nn.Linear(2 * WIDTH, BITS)

    def forward(self, features: Tensor) -> Tensor:  # [n, FEATURES] -> [n, BITS]
        outputs: Tensor = self.hash(self.guesses(features))
        return outputs


class TextHead(nn.Module):
    """`centre` is the mean sentence: photos and sentences are each centred, or every bit would tell which is which."""

    def __init__(self, centre: Tensor) -> None:
        super().__init__()
        self.centre: Tensor
        self.register_buffer("centre", centre)
        self.hash = nn.Linear(WIDTH, BITS)

    def forward(self, sentences: Tensor) -> Tensor:  # [n, WIDTH] -> [n, BITS]
        outputs: Tensor = self.hash(unit(sentences - self.centre))
        return outputs


@dataclass(frozen=True)
class Sentences:
    """`vectors` are centred unit vectors [n, WIDTH]; `teacher` is as the teacher scores them, [n, 2 * WIDTH]."""

    vectors: Tensor
    teacher: Tensor

    def __getitem__(self, rows: Tensor) -> "Sentences":
        return Sentences(self.vectors[rows], self.teacher[rows])

    def some(self, n: int) -> "Sentences":
        return self[torch.randint(len(self.vectors), (n,))]


@dataclass(frozen=True)
class HashTrainingSet:
    """The hash layers' training set."""

    train: list[Tensor]  # views, each [photos, 2 * WIDTH]
    general: list[Tensor]
    captions: Sentences  # CAPTIONS in a row for each photo in `train`
    loose: list[Sentences]  # that belong to no photo we have
    text_map: Tensor


def start_from_itq(images: nn.Linear, texts: nn.Linear, training_set: HashTrainingSet, seed: int) -> None:
    guesses = torch.cat([training_set.train[0], training_set.general[0]])
    sentences = torch.cat([training_set.captions.vectors, *[loose.vectors for loose in training_set.loose]])
    some = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))[: 2 * len(guesses)]
    samples = torch.cat([guesses[:, :WIDTH], map_text(sentences[some], training_set.text_map)])
    training = (samples - samples.mean(0)).numpy()
    directions = principal_directions(training, BITS)
    basis = torch.from_numpy(directions @ itq_rotation(training @ directions, seed)).float()
    mapped = basis + training_set.text_map @ basis
    share = CLASS_SHARE["general"]
    both = torch.cat([math.sqrt(1 - share) * basis, math.sqrt(share) * mapped])
    images.load_state_dict(start_layer(both, guesses).state_dict())
    texts.load_state_dict(start_layer(mapped, sentences).state_dict())


def train_hash(images: nn.Linear, texts: nn.Linear, training_set: HashTrainingSet, seed: int) -> Floats:
    """Train both hash layers on the signs they give. Returns their parameters as `load_hash` takes them."""
    start_from_itq(images, texts, training_set, seed)
    torch.manual_seed(seed)
    # Of a score, for the pair loss and for the teacher's, at each length of a code.
    log_scales = nn.Parameter(torch.full((2, len(PREFIXES)), 2.5))
    layers = [*images.parameters(), *texts.parameters()]
    rates = [5e-3, 1e-2]
    optimiser = torch.optim.AdamW([{"params": layers}, {"params": [log_scales]}], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=HASH_STEPS, pct_start=0.1)
    for step in range(HASH_STEPS):
        losses = hash_losses(images, texts, log_scales.exp(), training_set)
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack([HASH_LOSSES[name] * loss for name, loss in losses.items()]).sum())
        optimiser.step()
        schedule.step()
        if step % 500 == 0 or step == HASH_STEPS - 1:
            print(f"  step {step}:", ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items()), flush=True)
    flat: Floats = parameters_to_vector(layers).detach().numpy()
    return flat


def load_hash(images: nn.Linear, texts: nn.Linear, saved: Tensor) -> None:
    vector_to_parameters(saved, [*images.parameters(), *texts.parameters()])


def hash_losses(
    images: nn.Linear, texts: nn.Linear, scales: Tensor, training_set: HashTrainingSet
) -> dict[str, Tensor]:
    """Of one random batch, of codes cut to a random length:

    pair: a photo's own caption scores highest, and the other way round. teacher: the scores of all sentences for a
    photo, and of all photos for a sentence, as softmax distributions, are near the teacher's (KL divergence).
    captions: two captions of a photo have like codes. balance: the mean of every bit is near zero.

    A score compares the query's floats with the signs of what is searched, or signs with signs.
    """
    pairs = HASH_BATCH["train"]
    photos = torch.randint(len(training_set.train[0]), (pairs,))
    view, general_view = (
        views[int(torch.randint(len(views), ()))] for views in (training_set.train, training_set.general)
    )
    batch = {"train": view[photos], "general": some(general_view, HASH_BATCH["general"])}
    guesses = torch.cat(list(batch.values()))
    teacher_images = torch.cat([teacher_photos(rows, CLASS_SHARE[part]) for part, rows in batch.items()])
    number = torch.randint(CAPTIONS, (pairs,))
    other = (number + torch.randint(1, CAPTIONS, (pairs,))) % CAPTIONS
    drawn = [
        training_set.captions[photos * CAPTIONS + number],
        *[one.some(HASH_BATCH["loose"]) for one in training_set.loose],
    ]
    target = teacher_images @ torch.cat([sentences.teacher for sentences in drawn]).T * TEACHER_SCALE

    image_outputs, text_outputs = images(guesses), texts(torch.cat([sentences.vectors for sentences in drawn]))
    other_outputs = texts(training_set.captions.vectors[photos * CAPTIONS + other])
    length = int(torch.multinomial(torch.tensor(list(PREFIXES.values())), 1))
    bits = list(PREFIXES)[length]
    symmetric = bool(torch.rand(()) < SYMMETRIC_SHARE)
    by_text, by_image = code_scores(image_outputs[:, :bits], text_outputs[:, :bits], symmetric=symmetric)
    by_caption, _ = code_scores(other_outputs[:, :bits], text_outputs[:pairs, :bits], symmetric=symmetric)
    pair_scale, teacher_scale = scales[:, length]
    return {
        "pair": (
            right_first(by_text[:pairs, :pairs] * pair_scale, photos)
            + right_first(by_image[:pairs, :pairs] * pair_scale, photos)
        )
        / 2,
        "teacher": (
            ranking_divergence(by_text * teacher_scale, target.T) + ranking_divergence(by_image * teacher_scale, target)
        )
        / 2,
        "captions": right_first(by_caption * pair_scale, photos),
        "balance": balance(image_outputs.tanh(), text_outputs.tanh()),
    }


def some(rows: Tensor, n: int) -> Tensor:
    return rows[torch.randint(len(rows), (n,))]


def right_first(scores: Tensor, photos: Tensor) -> Tensor:
    """-log of the softmax share of column i in row i. Both are of photos[i]; a photo drawn twice is not its rival."""
    rivals = photos[:, None] == photos[None]
    scores = scores.masked_fill(rivals & ~torch.eye(len(photos), dtype=torch.bool), -torch.inf)
    return functional.cross_entropy(scores, torch.arange(len(photos)))
