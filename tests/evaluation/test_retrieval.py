"""How well lite-256 finds photos by their captions, where Flickr8k is on disk."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.layouts import DATA

FLICKR8K = DATA / "flickr8k"


def encode(out: Path, *arguments: object) -> np.ndarray:
    """Packed codes uint8 [n, 32] of `hashcli encode`."""
    command = [sys.executable, "-m", "hashcli", "encode", *map(str, arguments), "--out", str(out)]
    subprocess.run(command, check=True)
    return np.asarray(np.load(out))


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="Flickr8k is not on disk")
def test_captions_and_photos_find_each_other(tmp_path: Path) -> None:
    """Recall@10 on the 1,000 dev photos with five captions each, which the model was not trained on: a caption's photo
    and one of a photo's captions, by Hamming distance alone with ties in order. Chance is 0.01 for both."""
    names = (FLICKR8K / "Flickr_8k.devImages.txt").read_text().split()
    captions: dict[str, list[str]] = {name: [] for name in names}
    for line in (FLICKR8K / "Flickr8k.token.txt").read_text().splitlines():
        name, _, caption = line.partition("\t")
        if name[:-2] in captions:
            captions[name[:-2]].append(caption)
    (tmp_path / "captions.txt").write_text("".join(f"{text}\n" for name in names for text in captions[name]))
    photos = encode(tmp_path / "photos.npy", *(FLICKR8K / "Flicker8k_Dataset" / name for name in names))
    texts = encode(tmp_path / "texts.npy", "--texts-from", tmp_path / "captions.txt")
    rows = [json.loads(line)["path"] for line in (tmp_path / "photos.jsonl").read_text().splitlines()]
    assert [Path(path).name for path in rows] == names
    assert len(texts) == 5 * len(names)

    distances = np.bitwise_count(texts[:, None] ^ photos[None]).sum(axis=2)  # [captions, photos]
    own = np.arange(len(names)).repeat(5)
    ranks = (np.argsort(distances, axis=1, kind="stable") == own[:, None]).argmax(axis=1)
    recall = float((ranks < 10).mean())
    nearest = np.argsort(distances.T, axis=1, kind="stable")[:, :10]  # [photos, 10] captions
    described = float((own[nearest] == np.arange(len(names))[:, None]).any(axis=1).mean())
    print(f"recall@10 by Hamming distance: text to image {recall:.3f}, image to text {described:.3f}")
    assert recall >= 0.59
    assert described >= 0.62
