"""What lite-256 is trained and measured on."""

import importlib.util
import json
import runpy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lite_256.settings import Floats


@dataclass(frozen=True)
class Data:
    """Photos by set name, and captions by set name: `CAPTIONS` in a row for each photo of a captioned set.

    `held_out` general photos were left out.
    """

    photos: dict[str, list[Path]]
    texts: dict[str, list[str]]
    labels: npt.NDArray[np.bool_] | None  # [MIRFlickr photos, len(MIRFLICKR_QUERIES)]
    held_out: int


MIRFLICKR_PHOTOS = 1000
MIRFLICKR_QUERIES = {
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


def read_data(
    flickr8k: Path, general_photos: Path, coco_captions: Path, mirflickr: Path | None, held_out: Path
) -> Data:
    """`held_out` lists general photos, by their paths in that folder, one a line."""
    names = {part: (flickr8k / f"Flickr_8k.{part}Images.txt").read_text().split() for part in ("train", "dev")}
    captions = flickr8k_captions(flickr8k / "Flickr8k.token.txt")
    photos = {part: [flickr8k / "Flicker8k_Dataset" / name for name in names[part]] for part in names}
    left_out = {general_photos / line for line in held_out.read_text().split()}
    general = sorted(general_photos.rglob("*.jpg"))
    photos["general"] = [photo for photo in general if photo not in left_out]
    texts = {part: [text for name in names[part] for text in captions[name]] for part in names}
    annotations = json.loads(coco_captions.read_text(encoding="utf-8"))["annotations"]
    texts["coco"] = [
        annotation["caption"].strip() for annotation in sorted(annotations, key=lambda one: int(one["id"]))
    ]
    texts |= class_texts()
    labels = None
    if mirflickr is not None:
        photos["mirflickr"] = [mirflickr / "mirflickr" / f"im{i}.jpg" for i in range(1, MIRFLICKR_PHOTOS + 1)]
        texts["queries"] = [f"a photo of {what}" for what in MIRFLICKR_QUERIES.values()]
        labels = mirflickr_labels(mirflickr / "mirflickr25k_annotations_v080")
    return Data(photos, texts, labels, held_out=len(general) - len(photos["general"]))


def flickr8k_captions(path: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, text = line.split("\t")
        captions.setdefault(key.split("#")[0], []).append(text.strip())
    return captions


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


CLASS_TEXTS = ("class names", "class photos", "class definitions")


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The package {name} is missing. Install what this recipe needs: pip install '.[recipe]'")
    return Path(spec.origin).parent


def read_pairs(path: Path) -> Iterable[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("\t")
        yield key, value


def mirflickr_labels(folder: Path) -> npt.NDArray[np.bool_]:
    labels = np.zeros((MIRFLICKR_PHOTOS, len(MIRFLICKR_QUERIES)), bool)
    for column, label in enumerate(MIRFLICKR_QUERIES):
        photos = np.array((folder / f"{label}.txt").read_text().split(), int) - 1
        labels[photos[photos < MIRFLICKR_PHOTOS], column] = True
    return labels


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
