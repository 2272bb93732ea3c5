"""Drawn shapes with their names: a dataset that needs no files, to check quickly that a run works. It is not a
benchmark.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from platformdirs import user_cache_path

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.source import DatasetSource

COLOURS = ["red", "green", "blue", "yellow"]
SHAPES = ["circle", "square", "triangle"]
PHOTOS = 240
SIDE = 96


def load(root: Path) -> ImageTextDataset:
    """Draw the pictures into `root`, always the same ones, unless they are there already."""
    folder = root / "synthetic"
    folder.mkdir(parents=True, exist_ok=True)
    names = COLOURS + SHAPES
    images, texts = [], []
    labels = np.zeros((PHOTOS, len(names)), np.uint8)
    for number in range(PHOTOS):
        colour, shape = COLOURS[number % len(COLOURS)], SHAPES[number // len(COLOURS) % len(SHAPES)]
        images.append(folder / f"{number:03}-{colour}-{shape}.png")
        if not images[-1].exists():
            _draw(number, colour, shape).save(images[-1])
        texts.append([f"a {colour} {shape}"])
        labels[number, [names.index(colour), names.index(shape)]] = 1
    return ImageTextDataset("synthetic", [path.stem for path in images], images, texts, labels, names)


def _draw(number: int, colour: str, shape: str) -> Image.Image:
    rng = np.random.default_rng(number)
    picture = Image.fromarray(rng.integers(180, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(picture)
    size = int(rng.integers(SIDE // 3, 2 * SIDE // 3))
    left, top = (int(place) for place in rng.integers(0, SIDE - size, 2))
    box = (left, top, left + size, top + size)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(left, top + size), (left + size, top + size), (left + size // 2, top)], fill=colour)
    return picture


SOURCE = DatasetSource("synthetic", load, default_root=lambda: user_cache_path("hashcli"))
