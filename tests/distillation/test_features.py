"""The photos and texts that a run uses, and their features."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.features import Features, TeacherFeatures, UsedItems, make_supervised_rows


def test_the_items_of_a_split_in_the_order_of_the_dataset() -> None:
    """Of five photos the third is in no part; the second and the fifth are trained on, with two texts and one."""
    dataset = ImageTextDataset(
        "own",
        list("abcde"),
        [Path(name) for name in "abcde"],
        [["a0"], ["b0", "b1"], ["c0"], ["d0", "d1", "d2"], ["e0"]],
        labels=np.eye(5, 2, dtype=np.uint8),
        label_names=["first", "second"],
    )
    query, database, train, validation = (np.array(rows) for rows in ([3], [4, 1, 0], [4, 1], [0]))
    split = Split("ours", 0, query, database, train, validation, "checksum", [])
    items = UsedItems.of_split(dataset, split)
    assert items.rows.tolist() == [0, 1, 3, 4]
    assert [path.name for path in items.photos] == ["a", "b", "d", "e"]
    assert items.texts == ["a0", "b0", "b1", "d0", "d1", "d2", "e0"]
    assert items.photo_of.tolist() == [0, 1, 1, 2, 2, 2, 3]
    assert items.text_rows.tolist() == [0, 1, 1, 3, 3, 3, 4]
    assert [items.texts[place] for place in items.trained] == ["b0", "b1", "e0"]
    assert items.trained_photos.tolist() == [1, 1, 3]
    assert items.trained_rows.tolist() == [1, 1, 4]

    teacher = TeacherFeatures(torch.arange(4.0)[:, None], torch.arange(7.0)[:, None])
    rows = make_supervised_rows(items, dataset, teacher, neighbours=0.1)
    assert [path.name for path in rows.photos] == ["b", "e"]
    assert rows.photo_of.tolist() == [0, 0, 1]
    assert rows.teacher_image.flatten().tolist() == [1, 1, 3]
    assert rows.teacher_text.flatten().tolist() == [1, 2, 6]
    assert rows.labels is not None
    assert rows.labels.tolist() == [[0, 1], [0, 1], [0, 0]]


def test_a_part_of_the_features_has_its_photos_and_all_their_texts() -> None:
    features = Features(
        photos=[Path(name) for name in "abc"],
        photo_of=torch.tensor([0, 0, 1, 2, 2]),
        teacher_image=torch.arange(3.0)[:, None],
        teacher_text=torch.arange(5.0)[:, None],
        image=torch.arange(3.0)[:, None] + 10,
        text=torch.arange(5.0)[:, None] + 10,
    )
    part = features.part(torch.tensor([0, 2]))
    assert part.photos == [Path("a"), Path("c")]
    assert part.photo_of.tolist() == [0, 0, 1, 1]
    assert part.teacher_image.flatten().tolist() == [0, 2]
    assert part.text.flatten().tolist() == [10, 11, 13, 14]
