"""How well lite-256 finds photos by their captions, through the command alone, where Flickr8k is on disk.

HASHCLI_TEST_DATA names the folder that holds `flickr8k/` in its official layout; the tests skip without it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DATA = Path(os.environ.get("HASHCLI_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
FLICKR8K = DATA / "flickr8k"


def encode(out: Path, *arguments: object) -> np.ndarray:
    """Packed codes uint8 [n, 32] of `hashcli encode`."""
    command = [sys.executable, "-m", "hashcli", "encode", *map(str, arguments), "--out", str(out)]
    subprocess.run(command, check=True)
    return np.asarray(np.load(out))


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="Flickr8k is not on disk")
def test_captions_find_their_photos(tmp_path: Path) -> None:
    """Text-to-image recall@10 on the 1,000 dev photos, which the model was not trained on, by Hamming distance alone
    with ties in the order of the photos. Chance is 0.01."""
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
    ranks = (np.argsort(distances, axis=1, kind="stable") == np.arange(len(names)).repeat(5)[:, None]).argmax(axis=1)
    recall = float((ranks < 10).mean())
    print(f"text-to-image recall@10 by Hamming distance: {recall:.3f}")
    assert recall >= 0.52
