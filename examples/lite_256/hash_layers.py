"""The hash layers: [a, c] and sentence vectors to 256 outputs whose signs are the code."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from hashcli.distillation.itq import itq_rotation, principal_directions
from hashcli.distillation.losses import balance, code_scores, ranking_divergence
from hashcli.distillation.rank import start_layer
from lite_256.projections import Guesses, TextMap, right_share, teacher_photos, teacher_sentences, unit
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

    def __init__(self, centre: Tensor, text_map: TextMap) -> None:
        super().__init__()
        self.centre: Tensor
        self.register_buffer("centre", centre)
        self.text_map = text_map
        self.hash = nn.Linear(2 * WIDTH, BITS)

    def forward(self, sentences: Tensor) -> Tensor:  # [n, WIDTH] -> [n, BITS]
        outputs: Tensor = self.hash(teacher_sentences(unit(sentences - self.centre), self.text_map))
        return outputs


@dataclass(frozen=True)
class HashPairs:
    """Views of photos, each [photos, 2 * WIDTH], and their captions, CAPTIONS in a row for each photo. `others` are the
    captions with other colours; zero for captions without colours."""

    views: list[Tensor]
    captions: Tensor
    others: Tensor


@dataclass(frozen=True)
class HashTrainingSet:
    """The hash layers' training set. Photos have two guesses and sentences two parts, as the teacher has them: both are
    [n, 2 * WIDTH]."""

    pairs: dict[str, HashPairs]
    general: list[Tensor]  # views of photos
    tagged: list[Tensor]
    fitting: Tensor  # which words fit the tagged photos, bool [photos, words]
    words: Tensor  # bare and in a sentence, [2, words, 2 * WIDTH]
    loose: list[Tensor]  # sentences that belong to no photo we have


def start_from_itq(images: nn.Linear, texts: nn.Linear, training_set: HashTrainingSet, seed: int) -> None:
    pairs = training_set.pairs.values()
    guesses = torch.cat([*[one.views[0] for one in pairs], training_set.general[0]])
    sentences = torch.cat([*[one.captions for one in pairs], *training_set.loose])
    some = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))[: 2 * len(guesses)]
    samples = torch.cat([guesses[:, :WIDTH], sentences[some, :WIDTH]])
    training = (samples - samples.mean(0)).numpy()
    directions = principal_directions(training, BITS)
    basis = torch.from_numpy(directions @ itq_rotation(training @ directions, seed)).float()
    share = CLASS_SHARE["general"]
    both = torch.cat([math.sqrt(1 - share) * basis, math.sqrt(share) * basis])
    images.load_state_dict(start_layer(both, guesses).state_dict())
    texts.load_state_dict(start_layer(torch.cat([basis, 0 * basis]), sentences).state_dict())


def train_hash(images: nn.Linear, texts: nn.Linear, training_set: HashTrainingSet, seed: int) -> Floats:
    """Train both hash layers on the signs they give. Returns their parameters as `load_hash` takes them."""
    start_from_itq(images, texts, training_set, seed)
    torch.manual_seed(seed)
    # Of a score, for the losses of pairs, of the teacher and of words, at each length of a code.
    log_scales = nn.Parameter(torch.full((3, len(PREFIXES)), 2.5))
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
    captions: two captions of a photo have like codes. colours: a caption scores higher for its photo than with other
    colours in it. words: photos that a word fits score highest for it. balance: the mean of every bit is near zero.

    A score compares the query's floats with the signs of what is searched, or signs with signs.
    """
    batch = draw_batch(training_set)
    pairs = len(batch.photos)
    target = batch.teacher_images @ batch.sentences.T * TEACHER_SCALE
    image_outputs, text_outputs = images(batch.guesses), texts(batch.sentences)
    length = int(torch.multinomial(torch.tensor(list(PREFIXES.values())), 1))
    bits = list(PREFIXES)[length]
    symmetric = bool(torch.rand(()) < SYMMETRIC_SHARE)
    score = partial(code_scores, symmetric=symmetric)
    by_text, by_image = score(image_outputs[:, :bits], text_outputs[:, :bits])
    several = len(batch.second_captions)
    by_caption, _ = score(texts(batch.second_captions)[:, :bits], text_outputs[:several, :bits])
    by_word, _ = score(image_outputs[-len(batch.fitting) :, :bits], texts(batch.words)[:, :bits])
    with_colours = torch.nonzero(batch.others.any(1))[:, 0]
    recoloured, _ = score(image_outputs[with_colours, :bits], texts(batch.others[with_colours])[:, :bits])
    own = by_text[with_colours, with_colours]
    pair_scale, teacher_scale, word_scale = scales[:, length]
    return {
        "pair": (
            right_first(by_text[:pairs, :pairs] * pair_scale, batch.photos)
            + right_first(by_image[:pairs, :pairs] * pair_scale, batch.photos)
        )
        / 2,
        "teacher": (
            ranking_divergence(by_text * teacher_scale, target.T) + ranking_divergence(by_image * teacher_scale, target)
        )
        / 2,
        "captions": right_first(by_caption * pair_scale, batch.photos[:several]),
        "colours": functional.softplus((recoloured.diagonal() - own) * pair_scale).mean(),
        "words": right_share(by_word * word_scale, batch.fitting.T),
        "balance": balance(image_outputs.tanh(), text_outputs.tanh()),
    }


@dataclass(frozen=True)
class HashBatch:
    """Photos: first those with captions, with the number of each in `photos`; last the tagged ones. Sentences: first a
    caption of each, then others. `second_captions` are others of the first photos, of the sets that have several."""

    guesses: Tensor
    teacher_images: Tensor
    photos: Tensor
    sentences: Tensor
    second_captions: Tensor
    others: Tensor
    fitting: Tensor
    words: Tensor


def draw_batch(training_set: HashTrainingSet) -> HashBatch:
    guesses, photos, sentences, second, others = [], [], [], [], []
    for number, (part, pairs) in enumerate(training_set.pairs.items()):
        rows = torch.randint(len(pairs.views[0]), (HASH_BATCH[part],))
        several = CAPTIONS[part]
        caption = torch.randint(several, (len(rows),))
        guesses.append((a_view(pairs.views)[rows], part))
        photos.append(rows + number * 1_000_000)
        sentences.append(pairs.captions[rows * several + caption])
        others.append(pairs.others[rows * several + caption])
        if several > 1:
            other = (caption + torch.randint(1, several, (len(rows),))) % several
            second.append(pairs.captions[rows * several + other])
    guesses.append((some(a_view(training_set.general), HASH_BATCH["general"]), "general"))
    tagged = torch.randint(len(training_set.fitting), (HASH_BATCH["tagged"],))
    guesses.append((a_view(training_set.tagged)[tagged], "tagged"))
    sentences += [some(one, HASH_BATCH["loose"]) for one in training_set.loose]
    return HashBatch(
        torch.cat([rows for rows, _ in guesses]),
        torch.cat([teacher_photos(rows, CLASS_SHARE[part]) for rows, part in guesses]),
        torch.cat(photos),
        torch.cat(sentences),
        torch.cat(second),
        torch.cat(others),
        training_set.fitting[tagged],
        training_set.words[int(torch.randint(2, ()))],
    )


def a_view(views: list[Tensor]) -> Tensor:
    return views[int(torch.randint(len(views), ()))]


def some(rows: Tensor, n: int) -> Tensor:
    return rows[torch.randint(len(rows), (n,))]


def right_first(scores: Tensor, photos: Tensor) -> Tensor:
    """-log of the softmax share of column i in row i. Both are of photos[i]; a photo drawn twice is not its rival."""
    rivals = photos[:, None] == photos[None]
    scores = scores.masked_fill(rivals & ~torch.eye(len(photos), dtype=torch.bool), -torch.inf)
    return functional.cross_entropy(scores, torch.arange(len(photos)))
