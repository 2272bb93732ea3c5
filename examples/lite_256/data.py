"""What lite-256 is trained and measured on."""

import importlib.util
import json
import runpy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lite_256.settings import CAPTIONS, Floats
from lite_256.words import LABELS, WORDS, labelled, other_colours, words_of

CLASS_TEXTS = ("class names", "class photos", "class definitions")
MIRFLICKR_PHOTOS = 1000  # the first, to measure on
TAGGED_PHOTOS = 10_000  # others, to train on
LOOSE_SENTENCES = 40_000  # of Flickr30k's captions


@dataclass(frozen=True)
class Data:
    """Photos and texts by set name.

    The captions of a set stand in a row for each photo, as many as CAPTIONS says. `words` tells which of WORDS fit the
    photos of "tagged", [photos, words], and `labels` which of LABELS those of "mirflickr", [photos, labels].
    `left_out` general photos are not trained on.
    """

    photos: dict[str, list[Path]]
    texts: dict[str, list[str]]
    words: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.bool_]
    left_out: int


@dataclass(frozen=True)
class Sources:
    """Where the data are."""

    flickr8k: Path  # in its classic layout
    pairs: Path  # photos with captions.jsonl, which has a line with `image` and `text` for each
    general_photos: Path
    left_out: Path  # lists general photos by their paths in that folder, one a line
    coco_captions: Path  # in COCO's JSON layout
    flickr30k_captions: Path  # one a line
    mirflickr: Path  # mirflickr/ with its tags, and mirflickr25k_annotations_v080/


def read_data(sources: Sources) -> Data:
    photos, texts = flickr8k(sources.flickr8k)
    pairs = [json.loads(line) for line in (sources.pairs / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    for part, rows in (("held out", pairs[::5]), ("coco", [pair for at, pair in enumerate(pairs) if at % 5])):
        photos[part] = [sources.pairs / pair["image"] for pair in rows]
        texts[part] = [pair["text"].strip() for pair in rows]
    for part in CAPTIONS:
        texts[f"{part}, other colours"] = other_colours(texts[part])
    left_out = {sources.general_photos / line for line in sources.left_out.read_text().split()}
    general = sorted(sources.general_photos.rglob("*.jpg"))
    photos["general"] = [photo for photo in general if photo not in left_out]
    annotations = json.loads(sources.coco_captions.read_text(encoding="utf-8"))["annotations"]
    texts["coco captions"] = five_of_each(annotations)
    known = set(texts["train"])
    more = sorted(set(sources.flickr30k_captions.read_text(encoding="utf-8").splitlines()) - known)
    texts["flickr30k captions"] = more[:: max(1, len(more) // LOOSE_SENTENCES)][:LOOSE_SENTENCES]
    texts |= class_texts()
    texts["words"] = [*WORDS, *[f"a photo of {word}" for word in WORDS]]
    texts["queries"] = [f"a photo of {label}" for label in LABELS.values()]
    measured = range(1, MIRFLICKR_PHOTOS + 1)
    tagged = sorted(np.random.default_rng(0).choice(np.arange(measured.stop, 25_001), TAGGED_PHOTOS, replace=False))
    for part, numbers in (("mirflickr", measured), ("tagged", tagged)):
        photos[part] = [sources.mirflickr / "mirflickr" / f"im{number}.jpg" for number in numbers]
    with_label = [labelled(sources.mirflickr, label) for label in LABELS]
    labels = np.array([[number in those for those in with_label] for number in measured])
    words = words_of(sources.mirflickr, [int(number) for number in tagged])
    return Data(photos, texts, words, labels, left_out=len(general) - len(photos["general"]))


def flickr8k(folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[str]]]:
    """The photos and captions of its train and dev parts."""
    captions: dict[str, list[str]] = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        key, text = line.split("\t")
        captions.setdefault(key.split("#")[0], []).append(text.strip())
    names = {part: (folder / f"Flickr_8k.{part}Images.txt").read_text().split() for part in ("train", "dev")}
    photos = {part: [folder / "Flicker8k_Dataset" / name for name in names[part]] for part in names}
    return photos, {part: [text for name in names[part] for text in captions[name]] for part in names}


def five_of_each(annotations: list[dict[str, Any]]) -> list[str]:
    """Of COCO's captions five of each photo in a row; photos with fewer are left out."""
    of_photo: dict[int, list[str]] = {}
    for annotation in sorted(annotations, key=lambda one: (int(one["image_id"]), int(one["id"]))):
        of_photo.setdefault(annotation["image_id"], []).append(annotation["caption"].strip())
    return [caption for captions in of_photo.values() if len(captions) >= 5 for caption in captions[:5]]


def class_texts() -> dict[str, list[str]]:
    """ImageNet's 1,000 classes in the classifier's order: as curated names, in a sentence, and as WordNet defines them.

    The packages are not imported: that would load torchvision for two text files.
    """
    names = runpy.run_path(str(package_folder("open_clip") / "zero_shot_metadata.py"))["IMAGENET_CLASSNAMES"]
    info = package_folder("timm") / "data" / "_info"
    lemmas = dict(read_pairs(info / "imagenet_synset_to_lemma.txt"))
    definitions = dict(read_pairs(info / "imagenet_synset_to_definition.txt"))
    synsets = (info / "imagenet_synsets.txt").read_text().split()
    sentences = [f"a photo of a {name}." for name in names]
    defined = [f"{lemmas[synset]}: {definitions[synset]}" for synset in synsets]
    return dict(zip(CLASS_TEXTS, (list(names), sentences, defined), strict=True))


def lemmas() -> list[str]:
    """WordNet's names of ImageNet's 21,841 synsets."""
    return [name for _, name in read_pairs(package_folder("timm") / "data" / "_info" / "imagenet_synset_to_lemma.txt")]


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The package {name} is missing. Install what this recipe needs: pip install '.[recipe]'")
    return Path(spec.origin).parent


def read_pairs(path: Path) -> Iterable[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("\t")
        yield key, value


def cached(path: Path, make: Callable[[], Floats]) -> Tensor:
    """What `make` returns, from `path` if an earlier run got that far. A kill never leaves half a file there."""
    if not path.exists():
        started = time.monotonic()
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.save(file, make())
        part.replace(path)
        print(f"  {path.stem}: {time.monotonic() - started:.0f} s", flush=True)
    return torch.from_numpy(np.load(path))
