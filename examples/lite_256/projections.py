"""The two guesses at the vector of a sentence that would describe a photo, and the teacher made of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lite_256.data import CLASS_TEXTS, cached
from lite_256.image_tower import Backbone
from lite_256.settings import (
    CAPTIONS,
    DROPOUT,
    FEATURES,
    FOLDS,
    HIDDEN,
    MIDDLE,
    PROJECTION_BATCH,
    PROJECTION_STEPS,
    STAY,
    TEMPERATURE,
    TEXT_MAP_STEPS,
    TOP,
    WIDTH,
    Floats,
)
from lite_256.text_tower import int8


class Int8Linear(nn.Module):
    """A frozen linear layer, stored as the text tower's are: int8 weights, a scale for each output."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:  # [out, in], [out]
        super().__init__()
        rounded, scale = int8(weight.detach().numpy(), axis=1)
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.from_numpy(rounded).T.contiguous())
        self.register_buffer("scale", torch.from_numpy(scale[:, 0]))
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.float() * self.scale + self.bias


def unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=-1)


def map_text(sentences: Tensor, text_map: Tensor) -> Tensor:
    """Centred sentence vectors, moved a little towards what photos can show: unit(t + t U)."""
    return unit(sentences + sentences @ text_map)


def projection() -> nn.Sequential:
    """Standardised features [n, FEATURES] -> [n, WIDTH]."""
    return nn.Sequential(
        nn.Dropout(DROPOUT),
        nn.Linear(FEATURES, HIDDEN),
        nn.GELU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, WIDTH),
    )


@dataclass(frozen=True)
class ProjectionTrainingSet:
    """The projections' training set: views, each [photos, FEATURES]; captions [photos, CAPTIONS, WIDTH], centred."""

    views: list[Tensor]
    captions: Tensor

    def of(self, photos: Tensor) -> "ProjectionTrainingSet":
        return ProjectionTrainingSet([view[photos] for view in self.views], self.captions[photos])


def infonce(scores: Tensor) -> Tensor:
    """-log of the softmax share of the right one, both ways. Row and column i belong together."""
    right = torch.arange(len(scores))
    return (functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)) / 2


def train_projection(
    training_set: ProjectionTrainingSet, text_map: Tensor, seed: int, others: Tensor | None = None
) -> nn.Sequential:
    """A projection that tells the right caption from others. With `others`, sentences to leave where they are, the
    text map learns too."""
    torch.manual_seed(seed)
    layers = projection()
    scale = nn.Parameter(torch.tensor(3.0))
    groups = [
        {"params": layers.parameters(), "lr": 1.5e-3, "weight_decay": 1e-2},
        {"params": [scale], "lr": 5e-3, "weight_decay": 0.0},
    ]
    if others is not None:
        groups.append({"params": [text_map], "lr": 1e-3, "weight_decay": 0.0})
    steps = PROJECTION_STEPS if others is None else TEXT_MAP_STEPS
    optimiser = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.1)
    photos = len(training_set.captions)
    for step in range(steps):
        at = step % (photos // PROJECTION_BATCH)
        if at == 0:
            order = torch.randperm(photos)
        rows = order[at * PROJECTION_BATCH : (at + 1) * PROJECTION_BATCH]
        view = training_set.views[int(torch.randint(len(training_set.views), ()))]
        sentences = map_text(training_set.captions[rows, torch.randint(CAPTIONS, (len(rows),))], text_map)
        loss = infonce(unit(layers(view[rows])) @ sentences.T * scale.exp().clamp(max=100))
        if others is not None:
            drawn = others[torch.randint(len(others), (PROJECTION_BATCH,))]
            loss = loss + STAY * (drawn @ text_map).square().sum(1).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return layers.eval()


def fit_text_map(training_set: ProjectionTrainingSet, others: Tensor, work: Path, seed: int) -> Tensor:
    """[WIDTH, WIDTH], U of `map_text`."""

    def fit() -> Floats:
        text_map = nn.Parameter(torch.zeros(WIDTH, WIDTH))
        train_projection(training_set, text_map, seed, others)
        learned: Floats = text_map.detach().numpy()
        return learned

    return cached(work / "text-map.npy", fit)


def fit_projections(
    training_set: ProjectionTrainingSet, text_map: Tensor, work: Path, seed: int
) -> list[nn.Sequential]:
    """One for each fold, from the photos of all others."""

    def fit(fold: int) -> Floats:
        unseen = fold_of(training_set.captions) == fold
        layers = train_projection(training_set.of(~unseen), text_map, seed + fold)
        flat: Floats = parameters_to_vector(layers.parameters()).detach().numpy()
        return flat

    folds = []
    for fold in range(FOLDS):
        layers = projection().eval()
        vector_to_parameters(cached(work / f"projection-{fold}.npy", partial(fit, fold)), layers.parameters())
        folds.append(layers)
    return folds


def fold_of(photos: Tensor) -> Tensor:
    return torch.arange(len(photos)) % FOLDS


class Guesses(nn.Module):
    """FEATURES -> [a, c], two unit vectors side by side: the trained projections' mean and the classes' names."""

    def __init__(self, folds: Sequence[nn.Sequential], mean: Tensor, deviation: Tensor, names: Tensor) -> None:
        super().__init__()
        classifier = Backbone().net._fc
        up = torch.cat([layers[1].weight.data for layers in folds]) / deviation
        self.up = Int8Linear(up, torch.cat([layers[1].bias.data for layers in folds]) - up @ mean)
        down = torch.cat([layers[4].weight.data for layers in folds], 1)
        self.down = Int8Linear(down, torch.stack([layers[4].bias.data for layers in folds]).sum(0))
        self.classifier = Int8Linear(classifier.weight / TEMPERATURE, classifier.bias / TEMPERATURE)
        self.names = Int8Linear(names.T, torch.zeros(WIDTH))

    @torch.no_grad()
    def centre(self, features: Tensor) -> None:
        """Subtract the mean guess by class names from every guess, since it says nothing about any one photo."""
        self.names.bias -= self.names(self.classifier(features[:, :TOP]).softmax(-1)).mean(0)

    def forward(self, features: Tensor) -> Tensor:
        a = unit(self.down(functional.gelu(self.up(features))))
        c = unit(self.names(self.classifier(features[:, :TOP]).softmax(-1)))
        return torch.cat([a, c], 1)


def make_guesses(
    features: dict[str, list[Tensor]],
    names: Tensor,
    training_set: ProjectionTrainingSet,
    folds: Sequence[nn.Sequential],
) -> tuple[Guesses, dict[str, list[Tensor]]]:
    """The module, and [a, c] for every view of every set of photos.

    A projection knows the photos it was trained on too well for a hash layer to learn from it. So a training photo gets
    its `a` from the projection that has not seen it; the module, and so every other photo, gets the mean of all.
    """
    guesses = Guesses(folds, *feature_statistics(features), names)
    guesses.centre(torch.cat([features[part][0] for part in ("train", "general")]))
    with torch.no_grad():
        guessed = {part: [guesses(view) for view in views] for part, views in features.items()}
        for view, guess in zip(training_set.views, guessed["train"], strict=True):
            for fold, layers in enumerate(folds):
                unseen = fold_of(view) == fold
                guess[unseen, :WIDTH] = unit(layers(view[unseen]))
    return guesses, guessed


def make_projection_training_set(features: dict[str, list[Tensor]], captions: Tensor) -> ProjectionTrainingSet:
    """`captions` are those of "train", centred."""
    mean, deviation = feature_statistics(features)
    return ProjectionTrainingSet(
        [(view - mean) / deviation for view in features["train"]], captions.view(-1, CAPTIONS, WIDTH)
    )


def class_names(sentences: dict[str, Tensor]) -> Tensor:
    """A vector for each ImageNet class, [1000, WIDTH]."""
    return torch.stack([unit(sentences[part] - sentences[part].mean(0)) for part in CLASS_TEXTS]).sum(0)


def feature_statistics(features: dict[str, list[Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean of each feature and the deviation of all of its layer, both [FEATURES]."""
    mean = torch.cat([features[part][0] for part in ("train", "general")]).mean(0)
    centred = features["general"][0] - mean
    layers = centred.split((TOP, MIDDLE), dim=1)
    return mean, torch.cat([layer.std().expand(layer.shape[1]) for layer in layers])


def teacher_photos(guesses: Tensor, share: float) -> Tensor:
    """[a, c] -> [sqrt(1 - share) a, sqrt(share) c]: times `teacher_sentences` it is the teacher's score."""
    return torch.cat([math.sqrt(1 - share) * guesses[:, :WIDTH], math.sqrt(share) * guesses[:, WIDTH:]], 1)


def teacher_sentences(sentences: Tensor, text_map: Tensor) -> Tensor:
    """Centred sentence vectors -> [n, 2 * WIDTH]: the part that a is compared with, and the part for c."""
    return torch.cat([map_text(sentences, text_map), sentences], 1)
