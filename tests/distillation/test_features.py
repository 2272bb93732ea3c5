"""The photos and texts that a run uses, and their features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.features import Features, TeacherFeatures, UsedItems, make_supervised_rows
from hashcli.distillation.resolve import resolve_settings


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
    rows = make_supervised_rows(items, dataset, teacher, resolve_settings(method="ckdh", neighbours=0.1))
    assert [path.name for path in rows.photos] == ["b", "e"]
    assert rows.photo_of.tolist() == [0, 0, 1]
    assert rows.teacher_image.flatten().tolist() == [1, 1, 3]
    assert rows.teacher_text.flatten().tolist() == [1, 2, 6]
    assert rows.labels is not None
    assert rows.labels.tolist() == [[0, 1], [0, 1], [0, 0]]


def test_all_texts_are_trained_on_where_only_the_first_is_evaluated() -> None:
    texts = [["a0", "a1"], ["b0", "b1"], ["c0"]]
    dataset = ImageTextDataset("own", list("abc"), [Path(name) for name in "abc"], texts, np.ones((3, 1), np.uint8))
    rows = np.arange(3)
    split = Split("ours", 0, rows[:1], rows[1:], rows[1:], rows[:0], "checksum", [])
    items = UsedItems.of_split(replace(dataset, searched=1), split)
    assert items.texts == ["a0", "b0", "b1", "c0"]
    assert [items.texts[place] for place in items.trained] == ["b0", "b1", "c0"]
    assert [items.texts[place] for place in items.searched] == ["a0", "b0", "c0"]
    every = UsedItems.of_split(dataset, split)
    assert every.texts == ["a0", "a1", "b0", "b1", "c0"]
    assert every.searched.tolist() == [0, 1, 2, 3, 4]


def test_labels_are_hidden_by_photo_and_by_seed() -> None:
    """All texts of a photo keep their labels or lose them, and a smaller share is part of a larger one."""
    dataset = ImageTextDataset(
        "own",
        [str(row) for row in range(40)],
        [Path(str(row)) for row in range(40)],
        [["one text", "another"]] * 40,
        labels=np.ones((40, 3), np.uint8),
        label_names=["a", "b", "c"],
    )
    rows = np.arange(40)
    items = UsedItems.of_split(dataset, Split("ours", 0, rows[:5], rows[5:], rows[10:], rows[5:10], "checksum", []))
    teacher = TeacherFeatures(torch.zeros(40, 1), torch.zeros(80, 1))

    def labelled(share: float, seed: int = 0) -> set[int]:
        made = make_supervised_rows(items, dataset, teacher, resolve_settings(method="soda", labelled=share, seed=seed))
        assert made.labels is not None
        assert set(made.labels.sum(dim=1).tolist()) <= {0.0, 3.0}
        kept = made.photo_of[made.labelled].tolist()
        assert sorted(kept) == sorted([*set(kept)] * 2)
        return set(kept)

    assert [len(labelled(share)) for share in (1.0, 0.5, 0.1, 0.0)] == [30, 15, 3, 0]
    assert labelled(0.1) < labelled(0.5)
    assert labelled(0.5) == labelled(0.5)
    assert labelled(0.5) != labelled(0.5, seed=1)
    assert dataset.labels is not None
    assert dataset.labels.all()


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
