"""The sentences that a method without pairs is fitted on, and those on which it is evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.datasets.vocabulary import texts_of

MOST_CAPTIONS = 14_000  # beside the everyday sentences: more change the layers little, and take their time
HELD_OUT_SHARE = 0.1  # of the everyday sentences
MOST_HELD_OUT = 2_000


@dataclass(frozen=True)
class Sentences:
    """Sentences to fit on and others to evaluate on, none in both. The first `captions` to fit on are captions."""

    fitted: list[str]
    held_out: list[str]
    captions: int


def choose_sentences(dataset: ImageTextDataset, split: Split) -> Sentences:
    """Captions, where the dataset has some, and everyday sentences; drawn by the split's seed.

    Captions of query photos are held out, and so is a tenth of the everyday sentences.
    """
    rng = np.random.default_rng(split.seed)
    captions = _some(texts_of(dataset, np.concatenate([split.train, split.validation])), MOST_CAPTIONS, rng)
    everyday = everyday_sentences()
    order = [everyday[place] for place in rng.permutation(len(everyday))]
    held = round(HELD_OUT_SHARE * len(order))
    fitted = list(dict.fromkeys([*captions, *order[held:]]))
    known = set(fitted)
    candidates = [one for one in [*texts_of(dataset, split.query), *order[:held]] if one not in known]
    return Sentences(fitted, _some(candidates, MOST_HELD_OUT, rng), len(captions))


def split_sentences(texts: Sequence[str], dataset: ImageTextDataset, split: Split) -> Sentences:
    """The texts of which a file has vectors. Captions of query photos are held out, and a tenth of the others."""
    queries = {" ".join(text.split()) for text in texts_of(dataset, split.query)}
    others = [text for text in texts if text not in queries]
    order = [others[place] for place in np.random.default_rng(split.seed).permutation(len(others))]
    held = round(HELD_OUT_SHARE * len(order))
    return Sentences(order[held:], [*(text for text in texts if text in queries), *order[:held]], captions=0)


def everyday_sentences() -> list[str]:
    """10,000 sentences about photos, of one word up to thirty; examples/make_sentences.py wrote them."""
    text = files("hashcli.distillation").joinpath("everyday_sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def _some(texts: list[str], most: int, rng: np.random.Generator) -> list[str]:
    """Different texts, `most` of them at most, in the order in which they are given."""
    different = list(dict.fromkeys(texts))
    if len(different) <= most:
        return different
    return [different[place] for place in np.sort(rng.choice(len(different), most, replace=False))]
