"""A student that is kept, taken up again, and taught new items."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation.student import Student, choose_anchors, load_student, save_student
from hashcli.distillation.update import kept_bits, update_student
from hashcli.errors import HashcliError
from tests.distillation.planted import (
    BITS,
    make_trainer,
    make_training_set,
    mean_average_precisions,
    train,
    weights,
)

TOWERS = {"teacher": "a", "student": "b"}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student that has learned the first four classes of the planted problem."""
    folder = tmp_path_factory.mktemp("student")
    training_set = make_training_set(300, seed=1, classes=[0, 1, 2, 3])
    trainer = make_trainer("soda", training_set, bits=(BITS,), anchors=100)
    heads = train(trainer).folded()
    anchors = choose_anchors(training_set, heads, trainer.settings)
    names = training_set.label_names
    save_student(folder, Student(trainer.settings, TOWERS, ["a", "dog"], names, heads, anchors, 300))
    return folder


def test_a_student_is_read_as_it_was_written(student: Path, tmp_path: Path) -> None:
    read = load_student(student)
    assert read.settings.bits == (BITS,)
    assert read.vocabulary == ["a", "dog"]
    assert len(read.anchors.image) == 100
    read.heads.modules().eval()
    assert kept_bits(read, read.heads) == (1.0, 1.0)
    save_student(tmp_path, read)
    again = load_student(tmp_path)
    assert weights(again.heads.modules()) == weights(read.heads.modules())
    assert again.settings == read.settings
    assert again.towers == TOWERS
    assert again.digest() == read.digest()


def test_what_it_learns_anew_is_found_and_old_codes_stay(student: Path) -> None:
    """It has learned four of six classes, and is now shown the two others alone."""
    read = load_student(student)
    query, database = make_training_set(100, seed=2, classes=[4, 5]), make_training_set(300, seed=3)
    before = mean_average_precisions(read.heads, query, database)
    old = make_training_set(100, seed=4, classes=[0, 1, 2, 3])
    known = mean_average_precisions(read.heads, old, old)
    taught = update_student(make_trainer("soda", make_training_set(200, seed=5, classes=[4, 5]), epochs=30), read)
    after, still_known = mean_average_precisions(taught, query, database), mean_average_precisions(taught, old, old)
    for direction in ("image to text", "text to image"):
        assert after[direction][0] > before[direction][0] + 0.1
        assert still_known[direction][0] > known[direction][0] - 0.05
    assert min(kept_bits(read, taught)) > 0.9


def test_anchors_are_a_sample_of_all_that_was_ever_learned(student: Path) -> None:
    """Of 300 pairs before and 100 now, 60 of 80 anchors are old, with the codes they had."""
    read = load_student(student)
    new = make_training_set(100, seed=5, classes=[4, 5])
    settings = replace(read.settings, anchors=80)
    both = choose_anchors(new, read.heads, settings, before=read)
    assert both.labels is not None
    is_new = both.labels[:, [4, 5]].any(dim=1)
    assert (len(is_new), int(is_new.sum())) == (80, 20)
    old = {tuple(one.tolist()) for one in torch.cat([read.anchors.image, read.anchors.image_codes], dim=1)}
    assert {tuple(one.tolist()) for one in torch.cat([both.image, both.image_codes], dim=1)[~is_new]} <= old
    others = replace(new, label_names=["of", "other", "names", "than", "it", "knows"])
    assert choose_anchors(others, read.heads, settings, before=read).labels is None


def test_a_folder_without_a_student_cannot_be_updated(tiny_model: Path) -> None:
    with pytest.raises(HashcliError, match=r"tiny cannot be updated: student\.safetensors is missing"):
        load_student(tiny_model)
