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
    CAPTION_LOSS,
    CAPTIONS,
    COLOURS,
    DROPOUT,
    FEATURES,
    FOLDS,
    HIDDEN,
    HISTOGRAMS,
    MIDDLE,
    OTHER_COLOURS,
    PAIRS,
    PROJECTION_BATCH,
    PROJECTION_STEPS,
    STAY,
    TEMPERATURE,
    TEXT_HIDDEN,
    TOP,
    WIDTH,
    WORD_LOSS,
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


class TextMap(nn.Module):
    """Centred sentence vectors t [..., WIDTH], moved towards what photos can show: unit(t + U t + V gelu(W t)). A new
    one leaves them where they are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear: nn.Module = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up: nn.Module = nn.Linear(WIDTH, TEXT_HIDDEN)
        self.down: nn.Module = nn.Linear(TEXT_HIDDEN, WIDTH)
        for values in (self.linear.weight, self.down.weight, self.down.bias):
            nn.init.zeros_(values)

    def forward(self, sentences: Tensor) -> Tensor:
        return unit(sentences + self.move(sentences))

    def move(self, sentences: Tensor) -> Tensor:
        hidden = functional.gelu(self.up(sentences * math.sqrt(WIDTH)))  # of numbers near 1, it learns sooner
        hidden = functional.dropout(hidden, DROPOUT["sentences"], self.training)
        moved: Tensor = self.linear(sentences) + self.down(hidden)
        return moved

    def freeze(self) -> "TextMap":
        """Keep it as it will be stored."""
        self.linear, self.up, self.down = (
            Int8Linear(layer.weight, torch.zeros(WIDTH) if layer.bias is None else layer.bias)
            for layer in (self.linear, self.up, self.down)
        )
        return self.eval()


class Projection(nn.Module):
    """Standardised features [n, FEATURES] -> [n, WIDTH], by one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        seen, colours = features.split((TOP + MIDDLE, COLOURS), 1)
        kept = [self._drop(seen, "features"), self._drop(colours, "colours")]
        hidden = functional.gelu(self.up(torch.cat(kept, 1)))
        projected: Tensor = self.down(self._drop(hidden, "hidden"))
        return projected

    def _drop(self, values: Tensor, kind: str) -> Tensor:
        return functional.dropout(values, DROPOUT[kind], self.training)


@dataclass(frozen=True)
class Pairs:
    """Photos with captions: views, each [photos, FEATURES], standardised; captions [photos, captions, WIDTH], centred.

    `others` are the captions with other colours, and zero for captions without colours.
    """

    views: list[Tensor]
    captions: Tensor
    others: Tensor

    def __getitem__(self, photos: Tensor) -> "Pairs":
        return Pairs([view[photos] for view in self.views], self.captions[photos], self.others[photos])


@dataclass(frozen=True)
class Tagged:
    """Photos with words: views, each [photos, FEATURES], standardised; which words fit them, bool [photos, words]."""

    views: list[Tensor]
    words: Tensor

    def __getitem__(self, photos: Tensor) -> "Tagged":
        return Tagged([view[photos] for view in self.views], self.words[photos])


@dataclass(frozen=True)
class ProjectionTrainingSet:
    """The projections' training set. `words` are the vectors of the words of `tagged`, bare and in a sentence,
    [2, words, WIDTH], centred."""

    pairs: dict[str, Pairs]
    tagged: Tagged
    words: Tensor

    def without(self, fold: int) -> "ProjectionTrainingSet":
        """Without a fold of the photos of each set."""
        pairs = {part: one[fold_of(one.captions) != fold] for part, one in self.pairs.items()}
        tagged = self.tagged[fold_of(self.tagged.words) != fold]
        return ProjectionTrainingSet(pairs, tagged, self.words)


@dataclass(frozen=True)
class TextTrainingSet:
    """What the text map learns from besides: `loose` sentences [n, WIDTH], to leave where they are, and the captions of
    photos that have several, [photos, captions, WIDTH]; all centred."""

    loose: Tensor
    captions: Tensor


def train_projection(
    training_set: ProjectionTrainingSet, text_map: TextMap, seed: int, texts: TextTrainingSet | None = None
) -> Projection:
    """A projection that tells the right caption from others. With `texts`, the text map learns too."""
    torch.manual_seed(seed)
    layers = Projection()
    log_scale, caption_log_scale = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(3.0))
    groups = [
        {"params": layers.parameters(), "lr": 1.5e-3, "weight_decay": 1e-2},
        {"params": [log_scale], "lr": 5e-3, "weight_decay": 0.0},
    ]
    if texts is not None:
        groups.append({"params": [*text_map.parameters(), caption_log_scale], "lr": 1e-3, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=PROJECTION_STEPS, pct_start=0.1)
    for _ in range(PROJECTION_STEPS):
        scale = log_scale.exp().clamp(max=100)
        loss = pair_loss(layers, text_map, scale, training_set.pairs)
        loss = loss + WORD_LOSS * word_loss(layers, text_map, scale, training_set)
        if texts is not None:
            drawn = texts.loose[torch.randint(len(texts.loose), (256,))]
            loss = loss + STAY * text_map.move(drawn).square().sum(1).mean()
            loss = loss + CAPTION_LOSS * caption_loss(text_map, caption_log_scale.exp().clamp(max=100), texts.captions)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return layers.eval()


def pair_loss(layers: Projection, text_map: TextMap, scale: Tensor, pairs: dict[str, Pairs]) -> Tensor:
    """InfoNCE both ways, of a batch of all sets together: -log of the softmax share of the right one.

    Among the captions that a photo must not choose is its own in other colours, OTHER_COLOURS times.
    """
    drawn = [draw(one, PROJECTION_BATCH[part]) for part, one in pairs.items()]
    photos, captions, others = (torch.cat(rows) for rows in zip(*drawn, strict=True))
    projected = unit(layers(photos))
    right = torch.arange(len(photos))
    same = (captions @ captions.T > 0.9999) & ~torch.eye(len(photos), dtype=torch.bool)
    scores = (projected @ text_map(captions).T * scale).masked_fill(same, -torch.inf)
    recoloured = (projected * text_map(others)).sum(1) * scale + math.log(OTHER_COLOURS)
    recoloured = recoloured.masked_fill((others == 0).all(1), -torch.inf)
    by_photo = functional.cross_entropy(torch.cat([scores, recoloured[:, None]], 1), right)
    return (by_photo + functional.cross_entropy(scores.T, right)) / 2


def draw(pairs: Pairs, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """`n` photos of a view, and a caption of each, as it is and in other colours."""
    rows = torch.randperm(len(pairs.captions))[:n]
    view = pairs.views[int(torch.randint(len(pairs.views), ()))]
    captions = torch.randint(pairs.captions.shape[1], (len(rows),))
    return view[rows], pairs.captions[rows, captions], pairs.others[rows, captions]


def word_loss(layers: Projection, text_map: TextMap, scale: Tensor, training_set: ProjectionTrainingSet) -> Tensor:
    """Of each word, -log of the softmax shares of the photos of a batch that it fits, their mean."""
    rows = torch.randint(len(training_set.tagged.words), (PROJECTION_BATCH["tagged"],))
    tagged = training_set.tagged[rows]
    words = training_set.words[int(torch.randint(2, ()))]
    projected = unit(layers(tagged.views[int(torch.randint(len(tagged.views), ()))]))
    return right_share(text_map(words) @ projected.T * scale, tagged.words.T)


def caption_loss(text_map: TextMap, scale: Tensor, captions: Tensor) -> Tensor:
    """InfoNCE both ways, of two captions of each photo of a batch."""
    rows = torch.randperm(len(captions))[: PROJECTION_BATCH["captions"]]
    one = torch.randint(captions.shape[1], (len(rows),))
    other = (one + torch.randint(1, captions.shape[1], (len(rows),))) % captions.shape[1]
    scores = text_map(captions[rows, one]) @ text_map(captions[rows, other]).T * scale
    right = torch.arange(len(rows))
    return (functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)) / 2


def right_share(scores: Tensor, fitting: Tensor) -> Tensor:
    """The mean over words of that of -log softmax over the photos that fit; scores and bool [words, photos]."""
    asked = fitting.any(1)
    return -((scores.log_softmax(1) * fitting).sum(1)[asked] / fitting.sum(1)[asked]).mean()


def fit_text_map(training_set: ProjectionTrainingSet, texts: TextTrainingSet, work: Path, seed: int) -> TextMap:
    """The text map, trained together with a projection that is not used any further."""
    torch.manual_seed(seed)
    text_map = TextMap()

    def fit() -> Floats:
        train_projection(training_set, text_map, seed, texts)
        learned: Floats = parameters_to_vector(text_map.parameters()).detach().numpy()
        return learned

    vector_to_parameters(cached(work / "text-map.npy", fit), text_map.parameters())
    return text_map.freeze()


def fit_projections(training_set: ProjectionTrainingSet, text_map: TextMap, work: Path, seed: int) -> list[Projection]:
    """One for each fold, from the photos of all others."""

    def fit(fold: int) -> Floats:
        layers = train_projection(training_set.without(fold), text_map, seed + fold)
        flat: Floats = parameters_to_vector(layers.parameters()).detach().numpy()
        return flat

    folds = []
    for fold in range(FOLDS):
        layers = Projection().eval()
        vector_to_parameters(cached(work / f"projection-{fold}.npy", partial(fit, fold)), layers.parameters())
        folds.append(layers)
    return folds


def fold_of(photos: Tensor) -> Tensor:
    return torch.arange(len(photos)) % FOLDS


class Guesses(nn.Module):
    """FEATURES -> [a, c], two unit vectors side by side: the trained projections' mean and the classes' names."""

    def __init__(self, folds: Sequence[Projection], mean: Tensor, deviation: Tensor, names: Tensor) -> None:
        super().__init__()
        classifier = Backbone().net._fc
        up = torch.cat([layers.up.weight.data for layers in folds]) / deviation
        self.up = Int8Linear(up, torch.cat([layers.up.bias.data for layers in folds]) - up @ mean)
        down = torch.cat([layers.down.weight.data for layers in folds], 1)
        self.down = Int8Linear(down, torch.stack([layers.down.bias.data for layers in folds]).sum(0))
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
    features: dict[str, list[Tensor]], names: Tensor, folds: Sequence[Projection]
) -> tuple[Guesses, dict[str, list[Tensor]]]:
    """The module, and [a, c] for every view of every set of photos.

    A projection knows the photos it was trained on too well for a hash layer to learn from it. So a training photo gets
    its `a` from the projection that has not seen it; the module, and so every other photo, gets the mean of all.
    """
    mean, deviation = feature_statistics(features)
    guesses = Guesses(folds, mean, deviation, names)
    guesses.centre(torch.cat([features[part][0] for part in ("train", "general")]))
    with torch.no_grad():
        guessed = {part: [guesses(view) for view in views] for part, views in features.items()}
        for part in (*PAIRS, "tagged"):
            for view, guess in zip(features[part], guessed[part], strict=True):
                for fold, layers in enumerate(folds):
                    unseen = fold_of(view) == fold
                    guess[unseen, :WIDTH] = unit(layers((view[unseen] - mean) / deviation))
    return guesses, guessed


def make_projection_training_set(
    features: dict[str, list[Tensor]], sentences: dict[str, Tensor], words: Tensor
) -> ProjectionTrainingSet:
    """`sentences` are centred; `words`, bool, says which fit the photos of "tagged"."""
    mean, deviation = feature_statistics(features)
    views = {part: [(view - mean) / deviation for view in features[part]] for part in (*PAIRS, "tagged")}
    pairs = {
        part: Pairs(
            views[part],
            sentences[part].view(-1, CAPTIONS[part], WIDTH),
            sentences[f"{part}, other colours"].view(-1, CAPTIONS[part], WIDTH),
        )
        for part in PAIRS
    }
    return ProjectionTrainingSet(pairs, Tagged(views["tagged"], words), sentences["words"].view(2, -1, WIDTH))


def class_names(sentences: dict[str, Tensor]) -> Tensor:
    """A vector for each ImageNet class, [1000, WIDTH]."""
    return torch.stack([unit(sentences[part] - sentences[part].mean(0)) for part in CLASS_TEXTS]).sum(0)


def feature_statistics(features: dict[str, list[Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean of each feature and the deviation of all of its kind, both [FEATURES]."""
    both = torch.cat([features[part][0] for part in ("train", "general")])
    mean = both.mean(0)
    kinds = (both - mean).split((TOP, MIDDLE, *[COLOURS // HISTOGRAMS] * HISTOGRAMS), dim=1)
    return mean, torch.cat([kind.std().expand(kind.shape[1]) for kind in kinds])


def teacher_photos(guesses: Tensor, share: float) -> Tensor:
    """[a, c] -> [sqrt(1 - share) a, sqrt(share) c]: times `teacher_sentences` it is the teacher's score."""
    return torch.cat([math.sqrt(1 - share) * guesses[:, :WIDTH], math.sqrt(share) * guesses[:, WIDTH:]], 1)


def teacher_sentences(sentences: Tensor, text_map: TextMap) -> Tensor:
    """Centred sentence vectors -> [..., 2 * WIDTH]: the part that a is compared with, and the part for c. Zeros, where
    there is no sentence, stay zeros."""
    both = torch.cat([text_map(sentences), sentences], -1)
    return both.masked_fill(~sentences.any(-1, keepdim=True), 0)
