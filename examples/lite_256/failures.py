"""A picture of what the model gets wrong, among photos that are free to show."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tokenizers import Tokenizer

from lite_256.data import package_folder
from lite_256.image_tower import open_session, run_images
from lite_256.measure import asymmetric_score
from lite_256.settings import MAX_TOKENS
from lite_256.text_tower import run_text

# Of scikit-image's pictures those that are in the public domain or under CC0, and what somebody might ask for.
QUERIES: Mapping[str, str] = {
    "astronaut.png": "an astronaut in an orange suit",
    "brick.png": "a brick wall",
    "camera.png": "a man filming with a camera on a tripod",
    "chelsea.png": "the face of a cat",
    "clock_motion.png": "a blurred clock",
    "coffee.png": "a cup of coffee",
    "grass.png": "grass",
    "gravel.png": "gravel",
    "horse.png": "a black horse",
    "hubble_deep_field.jpg": "galaxies in space",
    "retina.jpg": "the inside of an eye",
    "rocket.jpg": "a rocket at night",
    "text.png": "handwriting on paper",
}
SHOWN = 3  # answers to a text
SIDE, MARGIN, LINE = 150, 8, 26  # pixels


def draw_failures(folder: Path, target: Path) -> tuple[int, int]:
    """A row for each text whose photo does not come first among all: its first answers, then the right photo.

    Returns how many rows there are, of how many texts.
    """
    photos = [package_folder("skimage") / "data" / name for name in QUERIES]
    ranking = rank(open_session(folder / "image.onnx"), open_session(folder / "text.onnx"), folder, photos)
    places = [int(np.flatnonzero(order == row)[0]) for row, order in enumerate(ranking)]
    failed = sorted((row for row, place in enumerate(places) if place > 0), key=lambda row: -places[row])
    height = LINE + SIDE + MARGIN
    sheet = Image.new("RGB", ((SHOWN + 1) * (SIDE + MARGIN) + 3 * MARGIN, len(failed) * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for line, row in enumerate(failed):
        top = line * height + MARGIN
        place = f"its photo comes as number {places[row] + 1} of {len(photos)}"
        draw.text((MARGIN, top), f"{list(QUERIES.values())[row]}: {place}", "black", font)
        for column, answer in enumerate([*ranking[row][:SHOWN], row]):
            left = MARGIN + column * (SIDE + MARGIN) + (2 * MARGIN if column == SHOWN else 0)
            picture = ImageOps.fit(Image.open(photos[answer]).convert("RGB"), (SIDE, SIDE))
            sheet.paste(picture, (left, top + LINE - MARGIN // 2))
    sheet.save(target, quality=85)
    return len(failed), len(photos)


def rank(
    images: onnxruntime.InferenceSession, texts: onnxruntime.InferenceSession, folder: Path, photos: list[Path]
) -> list[np.ndarray]:
    """For each text the photos' rows, best first, as `hashcli search` has them."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    outputs = (run_text(texts, tokenizer, list(QUERIES.values())), run_images(images, photos))
    scores = asymmetric_score(*(torch.from_numpy(rows) for rows in outputs))
    return list(scores.argsort(stable=True, dim=1, descending=True).numpy())
