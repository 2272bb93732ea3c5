"""How much of a CLIP's quality its codes keep: a table of its floats and of the methods without pairs, in one go.

    pip install '.[train]'
    python examples/compare_clip_bits.py --teacher ViT-B-32/datacomp_xl_s13b_b90k --evaluate flickr8k DIR

Hash layers are fitted on photos alone (--photos; without it, the training photos of the dataset, without their
captions) and on the everyday sentences that come with hashcli. They are evaluated on the dataset's query photos and
their captions, none of which they have seen. Hash models that exist already, such as those of a `hashcli distill`
run, are measured in the same way: --model FOLDER, which may be repeated.

The table goes to stdout. Features are kept in --cache, so that a command that was stopped goes on after the last part
that it finished, and one with other bits or seeds encodes nothing again.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path

from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.features import unit_rows
from hashcli.distillation.open_towers import choose_device, open_teacher
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.sentences import everyday_sentences
from hashcli.distillation.towers import ImageTower, TextTower
from hashcli.distillation.trainer import HashHeads, UnpairedMethod
from hashcli.hashmodel.codes import pack
from hashcli.index.code_index import MemoryCodeIndex
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.ranking import RERANKED, rank

METHODS = ("itq", "rank")
PREFIXES = {256: (128,)}  # of rank's codes, whose first bits are a code as well
FIRST = 10  # answers

Towers = tuple[ImageTower, TextTower]


@dataclass(frozen=True)
class Recall:
    """The share of captions whose photo, and of photos one of whose captions, is among the first ten."""

    text_to_image: float
    image_to_text: float


@dataclass(frozen=True)
class Pairs:
    """The photos and captions that are evaluated: caption c belongs to photo photo_of[c]."""

    photos: list[Path]
    captions: list[str]
    photo_of: np.ndarray


@dataclass(frozen=True)
class Row:
    """One row of the table: the same codes at several seeds. `seconds` are processor seconds of one fit."""

    name: str
    bits: int | None
    recalls: list[Recall]
    seconds: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="open_clip ARCH/PRETRAINED, local-dir:FOLDER, ...")
    parser.add_argument("--photos", type=Path, help="a folder of photos to fit on; evaluated photos are left out")
    parser.add_argument("--evaluate", nargs=2, metavar=("DATASET", "DIR"), required=True, help="flickr8k DIR, ...")
    parser.add_argument("--bits", type=numbers, default=(128, 256, 512), help="with commas between")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="with commas between")
    parser.add_argument("--model", action="append", default=[], help="a hash model to measure as well")
    parser.add_argument("--cache", type=Path, default=user_cache_path("hashcli") / "features")
    options = parser.parse_args()

    dataset = load_dataset(*options.evaluate)
    split = make_split(dataset, seed=0)
    pairs = Pairs(
        [dataset.images[row] for row in split.query],
        [text for row in split.query for text in dataset.texts[row]],
        np.repeat(np.arange(len(split.query)), [len(dataset.texts[row]) for row in split.query]),
    )
    trained = np.sort(np.concatenate([split.train, split.validation]))
    photos = photos_in(options.photos, pairs) if options.photos else [dataset.images[row] for row in trained]
    cache = FeatureCache(options.cache, dataset.name, progress())
    print(
        f"{options.teacher}, fitted on {len(photos):,} photos without captions; recall@{FIRST} in % among "
        f"{len(pairs.photos):,} photos and {len(pairs.captions):,} captions of {dataset.name} ({split.protocol}), in "
        f"the default order of a search; seeds {', '.join(map(str, options.seeds))}"
        f"{', mean ± sample standard deviation' if len(options.seeds) > 1 else ''}.\n"
    )
    towers = open_teacher(options.teacher, choose_device("auto"))
    rows = chain(
        teacher_rows(towers, photos, pairs, cache, options), (model_row(name, pairs, cache) for name in options.model)
    )
    print_table(rows)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def photos_in(folder: Path, pairs: Pairs) -> list[Path]:
    """The photos in a folder, without those that are evaluated."""
    evaluated = {photo.resolve() for photo in pairs.photos}
    found = load_dataset(str(folder), without_texts=True).images
    return [photo for photo in found if photo.resolve() not in evaluated]


def progress() -> Callable[[int], None]:
    """Prints how many photos and texts have been encoded, at every 1,000."""
    done = 0

    def advanced(count: int) -> None:
        nonlocal done
        if (done + count) // 1000 > done // 1000:
            print(f"{(done + count) // 1000 * 1000:,} photos and texts encoded", file=sys.stderr)
        done += count

    return advanced


def teacher_rows(
    towers: Towers, photos: list[Path], pairs: Pairs, cache: FeatureCache, options: argparse.Namespace
) -> Iterator[Row]:
    """The teacher's floats, and each method at each code length, as each is measured."""
    seen = unit_rows(cache.images(towers[0], photos, all_readable=False)).numpy()
    seen = seen[~np.isnan(seen).any(axis=1)]
    read = unit_rows(cache.texts(towers[1], everyday_sentences())).numpy()
    image, text = features(towers, pairs, cache)
    yield Row("float cosines", None, [float_recall(image.numpy(), text.numpy(), pairs.photo_of)])
    for name in METHODS:
        method = load_method(name)
        assert isinstance(method, UnpairedMethod)
        for bits in options.bits:
            layers, began = [], time.process_time()
            for seed in options.seeds:
                settings = resolve_settings(method=name, teacher=options.teacher, bits=(bits,), seed=seed)
                layers.append(method.fit(seen, read, bits, settings, lambda epoch: None))
                print(f"{name}, {bits} bits, seed {seed} fitted", file=sys.stderr)
            seconds = (time.process_time() - began) / len(options.seeds)
            outputs = [outputs_of(one, image, text) for one in layers]
            yield Row(name, bits, [recall(*one, pairs.photo_of) for one in outputs], seconds)
            for prefix in PREFIXES.get(bits, ()) if name == "rank" else ():
                cut = [(image_outputs[:, :prefix], text_outputs[:, :prefix]) for image_outputs, text_outputs in outputs]
                yield Row(f"{name}, first {prefix} of {bits}", prefix, [recall(*one, pairs.photo_of) for one in cut])


def model_row(name: str, pairs: Pairs, cache: FeatureCache) -> Row:
    """A hash model that exists already. Its features are its outputs."""
    towers = open_teacher(name)
    image, text = (np.array(cache.images(towers[0], pairs.photos)), np.array(cache.texts(towers[1], pairs.captions)))
    return Row(name, image.shape[1], [recall(image, text, pairs.photo_of)])


def features(towers: Towers, pairs: Pairs, cache: FeatureCache) -> tuple[torch.Tensor, torch.Tensor]:
    return unit_rows(cache.images(towers[0], pairs.photos)), unit_rows(cache.texts(towers[1], pairs.captions))


def outputs_of(layers: HashHeads, image: torch.Tensor, text: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        return layers.image(image).numpy(), layers.text(text).numpy()


def float_recall(image: np.ndarray, text: np.ndarray, photo_of: np.ndarray) -> Recall:
    """By the cosines of features of unit length, [photos, width] and [captions, width]."""
    cosines = text @ image.T
    by_text, by_image = (np.argsort(-one, axis=1, kind="stable")[:, :FIRST] for one in (cosines, cosines.T))
    return _recall(by_text, by_image, photo_of)


def recall(image: np.ndarray, text: np.ndarray, photo_of: np.ndarray) -> Recall:
    """By outputs before the sign, [photos, bits] and [captions, bits], in the default order of a search."""
    return _recall(search(text, image), search(image, text), photo_of)


def _recall(by_text: np.ndarray, by_image: np.ndarray, photo_of: np.ndarray) -> Recall:
    found = (by_text == photo_of[:, None]).any(axis=1)
    described = (photo_of[by_image] == np.arange(len(by_image))[:, None]).any(axis=1)
    return Recall(float(found.mean()), float(described.mean()))


def search(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The places of the first ten items, [q, 10], for outputs [q, bits] and [n, bits]: `Index.search` in memory."""
    index = MemoryCodeIndex(np.arange(len(items)), pack(items))
    candidates = index.search(pack(queries), FIRST, RERANKED)
    ranked = [
        rank(near, output, RERANKED, DistanceLimit()).first(FIRST)
        for near, output in zip(candidates, queries, strict=True)
    ]
    return np.stack([one.ids for one in ranked])


def print_table(rows: Iterable[Row]) -> None:
    """In Markdown, each row as it comes; the first is that of the floats, beside which codes lose some points."""
    print("| codes | bits | text to image | beside the floats | image to text | beside the floats | CPU s |")
    print("|---" * 7 + "|", flush=True)
    floats: Recall | None = None
    for row in rows:
        floats = floats or row.recalls[0]
        cells = [row.name, str(row.bits or "")]
        for direction in ("text_to_image", "image_to_text"):
            values = [100 * getattr(one, direction) for one in row.recalls]
            spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{spread}")
            cells.append(f"{np.mean(values) - 100 * getattr(floats, direction):+.1f}" if row.bits else "")
        cells.append("" if row.seconds is None else f"{row.seconds:.0f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
