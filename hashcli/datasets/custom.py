"""Your own photos and texts: a file that lists them, or a folder of photos with a text file beside each.

    pairs.jsonl     {"image": "beach/1.jpg", "text": "a dog on the beach", "labels": ["dog", "beach"]}
                    or "texts": [...] for several of one photo; "labels" may be left out
    pairs.csv       image,text,labels
                    beach/1.jpg,a dog on the beach,dog;beach
    a folder        beach/1.jpg with beach/1.txt or beach/1.jpg.txt, one text a line; no labels

Paths are relative to the file. A photo may stand in several rows: its texts and labels are put together. Where some
photos have labels, those without are left out.
"""

from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.errors import HashcliError
from hashcli.index.files.text_files import CAPTIONS, read_captions, read_lines


def load(path: Path) -> ImageTextDataset:
    """Read a list of pairs or a folder of photos. Raises HashcliError naming the line that will not do."""
    if path.is_dir():
        return _load_folder(path)
    if path.suffix.lower() not in CAPTIONS:
        raise HashcliError(
            f"{path} is neither a folder nor a list of pairs.", f"A list ends in {' or '.join(CAPTIONS)}."
        )

    texts: dict[str, list[str]] = {}
    labels: dict[str, set[str]] = {}
    for row in read_captions(path):
        image = Path(row.image).as_posix()
        if not (path.parent / image).is_file():
            raise HashcliError(f"{path}:{row.line}: there is no photo {path.parent / image}.")
        texts.setdefault(image, []).extend(row.texts)
        labels.setdefault(image, set()).update(row.labels)
    if not texts:
        raise HashcliError(f"{path} lists no pairs.")

    names = sorted(set().union(*labels.values()))
    kept = [image for image in texts if labels[image] or not names]
    columns = {name: column for column, name in enumerate(names)}
    matrix = np.zeros((len(kept), len(names)), np.uint8)
    for row_number, image in enumerate(kept):
        matrix[row_number, [columns[name] for name in labels[image]]] = 1
    left_out = len(texts) - len(kept)
    return ImageTextDataset(
        name=f"own-{path.stem}",
        ids=kept,
        images=[path.parent / image for image in kept],
        texts=[texts[image] for image in kept],
        labels=matrix if names else None,
        label_names=names,
        missing=f"{left_out:,} of {len(texts):,} photos are left out, having no labels" if left_out else "",
    )


def _load_folder(folder: Path) -> ImageTextDataset:
    from hashcli.index.files.scan import scan

    found = scan([str(folder)], texts=True)
    texts: dict[Path, list[str]] = {}
    for sidecar, photo in sorted(found.sidecars.items()):
        texts.setdefault(Path(photo), []).extend(text for _, text in read_lines(Path(sidecar)))
    photos = sorted(Path(path) for path in found.files if path not in found.sidecars)
    kept = [path for path in photos if texts.get(path)]
    if not kept:
        raise HashcliError(
            f"{folder} holds {len(photos):,} photos, and none has a text.",
            "Put the texts of photo.jpg into photo.txt beside it, one a line.",
        )
    left_out = len(photos) - len(kept)
    return ImageTextDataset(
        name=f"own-{folder.resolve().name}",
        ids=[path.relative_to(folder).as_posix() for path in kept],
        images=kept,
        texts=[texts[path] for path in kept],
        missing=f"{left_out:,} of {len(photos):,} photos are left out, having no text beside them" if left_out else "",
    )
