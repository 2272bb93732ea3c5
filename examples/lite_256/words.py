"""Words that photos are labelled or tagged with, and captions whose colours are others."""

import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

# MIRFlickr's 24 labels, as somebody would ask for them.
LABELS = {
    "animals": "animals",
    "baby": "a baby",
    "bird": "a bird",
    "car": "a car",
    "clouds": "clouds",
    "dog": "a dog",
    "female": "a woman",
    "flower": "a flower",
    "food": "food",
    "indoor": "an indoor scene",
    "lake": "a lake",
    "male": "a man",
    "night": "a scene at night",
    "people": "people",
    "plant_life": "plants",
    "portrait": "a portrait of a face",
    "river": "a river",
    "sea": "the sea",
    "sky": "the sky",
    "structures": "buildings",
    "sunset": "a sunset",
    "transport": "vehicles",
    "tree": "a tree",
    "water": "water",
}
# Of its hundred commonest tags those that say what can be seen. The others are cameras, places, groups and praise.
TAGS = {
    "animal": "an animal",
    "architecture": "architecture",
    "art": "art",
    "baby": "a baby",
    "beach": "a beach",
    "bird": "a bird",
    "black": "black",
    "blackandwhite": "a black and white photo",
    "blue": "blue",
    "bridge": "a bridge",
    "building": "a building",
    "bw": "a black and white photo",
    "car": "a car",
    "city": "a city",
    "clouds": "clouds",
    "colors": "bright colors",
    "cute": "something cute",
    "dog": "a dog",
    "flower": "a flower",
    "flowers": "flowers",
    "food": "food",
    "garden": "a garden",
    "girl": "a girl",
    "graffiti": "graffiti",
    "green": "green",
    "lake": "a lake",
    "landscape": "a landscape",
    "light": "light",
    "lights": "lights",
    "macro": "a macro close-up",
    "man": "a man",
    "music": "music",
    "nature": "nature",
    "night": "a scene at night",
    "orange": "orange",
    "people": "people",
    "pink": "pink",
    "portrait": "a portrait of a face",
    "red": "red",
    "reflection": "a reflection",
    "river": "a river",
    "sea": "the sea",
    "selfportrait": "a self portrait",
    "shadow": "a shadow",
    "sign": "a sign",
    "sky": "the sky",
    "snow": "snow",
    "spring": "spring",
    "street": "a street",
    "streetart": "street art",
    "summer": "summer",
    "sun": "the sun",
    "sunset": "a sunset",
    "tree": "a tree",
    "trees": "trees",
    "urban": "an urban scene",
    "vintage": "a vintage photo",
    "wall": "a wall",
    "water": "water",
    "white": "white",
    "window": "a window",
    "winter": "winter",
    "yellow": "yellow",
}
WORDS = sorted({*LABELS.values(), *TAGS.values()})
COLOURS = ("red", "blue", "green", "yellow", "orange", "pink", "purple", "white", "black", "brown", "grey")
_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)}|gray|tan)\b", re.IGNORECASE)


def labelled(folder: Path, label: str) -> set[int]:
    """The numbers of the photos of MIRFlickr that have a label."""
    return set(map(int, (folder / "mirflickr25k_annotations_v080" / f"{label}.txt").read_text().split()))


def words_of(folder: Path, numbers: list[int]) -> npt.NDArray[np.bool_]:
    """Which of WORDS fit photos of MIRFlickr, by their labels and tags: [photos, words]."""
    with_label = {label: labelled(folder, label) for label in LABELS}
    fitting = np.zeros((len(numbers), len(WORDS)), bool)
    for row, number in enumerate(numbers):
        tags = (folder / "mirflickr" / "meta" / "tags" / f"tags{number}.txt").read_text().split()
        words = [TAGS[tag] for tag in tags if tag in TAGS]
        words += [LABELS[label] for label, photos in with_label.items() if number in photos]
        fitting[row, [WORDS.index(word) for word in words]] = True
    return fitting


def other_colours(captions: list[str]) -> list[str]:
    """Each caption with other colours in it, drawn at random; empty for captions without colours."""
    drawn = random.Random(0)
    changed = []
    for caption in captions:
        *parts, end = _COLOUR.split(caption)  # text and colours by turns
        named = {_colour(part) for part in parts[1::2]}
        others = [colour for colour in COLOURS if colour not in named]
        new = {colour: drawn.choice(others) for colour in sorted(named)}
        parts[1::2] = [new[_colour(part)] for part in parts[1::2]]
        changed.append("".join([*parts, end]) if named else "")
    return changed


def word_list(texts: Iterable[str], lemmas: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """The words that a tokenizer splits, of those that occur twice in the texts, and of a dictionary's lemmas that are
    not names.
    """
    counts = Counter(word for text in texts for word in re.findall("[a-z]+", text.lower()))
    words = {word for word, count in counts.items() if count > 1}
    words |= {word for lemma in lemmas for word in re.findall(r"\b[a-z]+\b", lemma)}
    return sorted(word for word in words if len(tokenizer.encode(word, add_special_tokens=False).ids) > 1)


def _colour(word: str) -> str:
    return word.lower().replace("gray", "grey")
