"""What a real CLIP teaches the light student: a table of docs/results.md, from vectors that a CLIP has given.

    pip install '.[train]'
    python examples/clip_vectors.py --flickr8k DIR --vectors IMAGES.npz --out runs/clip-vectors

IMAGES.npz has the vectors of some of Flickr8k's photos; docs/training.md says how to write it. CKDH is trained on the
training photos among them, with these vectors as its teacher, with lite-256's, and without a teacher, and is evaluated
on the dev photos among them. Every run is a folder in --out, as `hashcli distill` writes it; a finished run is not
repeated. The table replaces the text between its two marks in --results.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from compare_methods import Row, cells_of, finished_run, markdown, numbers, write_tables
from platformdirs import user_cache_path

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.feature_files import PREFIX, VectorImageTower, vector_towers
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run_plan import RunPlan

METRIC = "recall@10"
# Few, to save time: 1,625 training photos have 8,125 captions, or 64 batches.
SETTINGS = {"epochs": 3, "validate_every": 0}


@dataclass(frozen=True)
class Variant:
    """A row of the table: CKDH with a teacher, and settings other than the defaults."""

    label: str
    teacher: str
    settings: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flickr8k", type=Path, required=True, help="its folder")
    parser.add_argument("--vectors", type=Path, required=True, help="a file with vectors of photos")
    parser.add_argument("--bits", type=numbers, default=(16, 32, 64), help="with commas between")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="with commas between")
    parser.add_argument("--out", type=Path, default=Path("runs/clip-vectors"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()

    started = time.process_time()
    tower, _ = vector_towers(f"{PREFIX}{options.vectors}")
    dataset = photos_with_vectors(load_dataset("flickr8k", options.flickr8k), tower)
    options.out.mkdir(parents=True, exist_ok=True)
    small = write_vectors(dataset, options.out / "lite-256.npz")
    rows = []
    for variant in variants(options.vectors, small):
        key = open_teacher(variant.teacher)[0].key
        for seed in options.seeds:
            folder = options.out / f"{variant.label.replace(' ', '-').replace(',', '')}-{seed}"
            values = SETTINGS | variant.settings | {"bits": options.bits, "seed": seed, "teacher": variant.teacher}
            plan = RunPlan(
                dataset,
                make_split(dataset, seed),
                resolve_settings(method="ckdh", **values),
                folder,
                user_cache_path("hashcli") / "features",
                resume=(folder / "run.json").exists(),
            )
            rows += [row | {"label": variant.label} for row in finished_run(plan, key) if is_shown(row)]
    write_tables(options.results, table(dataset, rows), "clip-vectors")
    print(f"{time.process_time() - started:.0f} seconds of processor time", file=sys.stderr)


def variants(vectors: Path, small: Path) -> list[Variant]:
    """All teachers are vectors of photos alone, so that they differ in what they know of photos."""
    clip, ours = f"{PREFIX}{vectors}", f"{PREFIX}{small}"
    return [
        Variant("CLIP", clip, {}),
        Variant("CLIP, its similar pairs alone", clip, {"distil": False}),
        Variant("lite-256", ours, {}),
        Variant("no teacher", ours, {"distil": False, "neighbours": 0.0}),
    ]


def photos_with_vectors(flickr8k: ImageTextDataset, tower: VectorImageTower) -> ImageTextDataset:
    """The photos of the train and dev lists that have a vector."""
    has = np.array([path.name in tower.vectors.rows for path in flickr8k.images])
    rows = {part: flickr8k.parts[part][has[flickr8k.parts[part]]] for part in ("train", "dev")}
    kept = np.sort(np.concatenate([*rows.values()]))
    return replace(
        flickr8k,
        name="flickr8k-with-vectors",
        ids=[flickr8k.ids[row] for row in kept],
        images=[flickr8k.images[row] for row in kept],
        texts=[flickr8k.texts[row] for row in kept],
        parts={part: np.searchsorted(kept, some) for part, some in rows.items()},
        missing="",
    )


def write_vectors(dataset: ImageTextDataset, path: Path) -> Path:
    """A file of lite-256's own vectors of the photos."""
    cache = FeatureCache(user_cache_path("hashcli") / "features", dataset.name, lambda count: None)
    features = cache.images(open_teacher("lite-256")[0], dataset.images)
    np.savez(path, files=np.array(dataset.ids), features=features)
    return path


def is_shown(row: Row) -> bool:
    return (row["of"], row["name"]) == ("ckdh", METRIC)


def table(dataset: ImageTextDataset, rows: list[Row]) -> str:
    lines = []
    for direction in ("text to image", "image to text"):
        chosen = [row for row in rows if row["direction"] == direction]
        cells = {row["label"]: cells_of([one for one in chosen if one["label"] == row["label"]]) for row in chosen}
        chance = {bits: [chosen[0]["chance"]] for bits in next(iter(cells.values()))}
        lines += [*markdown(f"{direction}, {METRIC}", cells | {"chance": chance}), ""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main()
