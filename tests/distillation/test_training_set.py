"""Which training rows are similar."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tests.distillation.planted import make_training_set


@pytest.mark.parametrize("neighbours", [0.05, 0.3])
def test_without_labels_a_share_of_all_pairs_is_similar(neighbours: float) -> None:
    """They are those of the largest mean of both modalities' cosines, in whatever batch they stand."""
    training_set = make_training_set(60, seed=1, labels=False, neighbours=neighbours)
    rows = torch.arange(60)
    similar = training_set.similarity(rows).numpy()
    assert similar.diagonal().tolist() == [1] * 60
    pairs = np.triu_indices(60, 1)
    chosen = similar[pairs] == 1
    assert chosen.mean() == pytest.approx(neighbours, abs=1 / len(chosen))
    image, text = training_set.teacher_image, training_set.teacher_text
    similarity = (image @ image.T + text @ text.T).numpy()[pairs]
    assert similarity[chosen].min() > similarity[~chosen].max()
    some, others = torch.tensor([3, 50, 7]), torch.tensor([9, 3])
    assert np.array_equal(training_set.similarity(some, others).numpy(), similar[np.ix_(some, others)])


def test_texts_of_one_photo_are_similar_whatever_the_teacher_finds() -> None:
    photo = torch.tensor([0, 0, 1, 2, 2, 2])
    training_set = replace(make_training_set(6, seed=1, labels=False, neighbours=0), photo_of=photo)
    expected = (photo[:, None] == photo).float()
    assert torch.equal(training_set.similarity(torch.arange(6)), expected)
    twins = replace(
        training_set, teacher_image=torch.eye(6)[:1].repeat(6, 1) * 1.001, teacher_text=torch.eye(6)[:1].repeat(6, 1)
    )
    assert torch.equal(twins.similarity(torch.arange(6)), expected)  # more similar than 1, by rounding errors
    assert torch.equal(replace(training_set, neighbours=1.0).similarity(torch.arange(6)), torch.ones(6, 6))


def test_what_was_asked_of_the_rows_does_not_keep_them_from_a_device() -> None:
    training_set = make_training_set(5, seed=1)
    assert training_set.labelled.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(training_set.to(torch.device("cpu")).text, training_set.text)


def test_nothing_is_known_of_a_row_without_labels_where_others_have_some() -> None:
    full = make_training_set(5, seed=1)
    assert full.labels is not None
    assert full.known(torch.arange(5)) is None
    assert full.labelled.tolist() == [0, 1, 2, 3, 4]
    labels = full.labels.clone()
    labels[[1, 3]] = 0
    part = replace(full, labels=labels)
    assert part.labelled.tolist() == [0, 2, 4]
    rows, others = torch.tensor([0, 1, 2]), torch.tensor([3, 4])
    known = part.known(rows, others)
    assert known is not None
    assert known.tolist() == [[False, True], [False, False], [False, True]]
    assert torch.equal(part.similarity(rows, others)[known], full.similarity(rows, others)[known])
    without = make_training_set(5, seed=1, labels=False)
    assert without.known(rows) is None
    assert without.labelled.tolist() == [0, 1, 2, 3, 4]
