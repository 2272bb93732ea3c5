"""A student that is kept, taken up again, and taught new items."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from hashcli.distillation import soda
from hashcli.distillation.student import Student, choose_anchors, kept_bits, load_student, save_student, update
from hashcli.errors import HashcliError
from tests.distillation.planted import BITS, make_job, make_material, mean_average_precisions, weights


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student that has learned the first four classes of the planted problem."""
    folder = tmp_path_factory.mktemp("student")
    material = make_material(300, seed=1, classes=[0, 1, 2, 3])
    job = make_job(material, bits=(BITS,))
    hashers = soda.distill(job)
    anchors = choose_anchors(material, hashers, 100, seed=0)
    save_student(folder, Student(job.config, ["a", "dog"], material.label_names, hashers, anchors))
    return folder


def test_a_student_is_read_as_it_was_written(student: Path, tmp_path: Path) -> None:
    read = load_student(student)
    assert read.config.bits == (BITS,)
    assert read.vocabulary == ["a", "dog"]
    assert len(read.anchors.image) == 100
    read.hashers.modules().eval()
    assert kept_bits(read, read.hashers) == (1.0, 1.0)
    save_student(tmp_path, read)
    again = load_student(tmp_path)
    assert weights(again.hashers.modules()) == weights(read.hashers.modules())
    assert again.config == read.config


def test_what_it_learns_anew_is_found_and_old_codes_stay(student: Path) -> None:
    """It has learned four of six classes, and is now shown the two others alone."""
    read = load_student(student)
    query, database = make_material(100, seed=2, classes=[4, 5]), make_material(300, seed=3)
    before = mean_average_precisions(read.hashers, query, database)
    old = make_material(100, seed=4, classes=[0, 1, 2, 3])
    known = mean_average_precisions(read.hashers, old, old)
    taught = update(make_job(make_material(200, seed=5, classes=[4, 5])), read)
    after, still_known = mean_average_precisions(taught, query, database), mean_average_precisions(taught, old, old)
    for direction in ("image to text", "text to image"):
        assert after[direction][0] > before[direction][0] + 0.1
        assert still_known[direction][0] > known[direction][0] - 0.05
    assert min(kept_bits(read, taught)) > 0.9


def test_a_folder_that_is_no_student_cannot_be_updated(tiny_model: Path) -> None:
    with pytest.raises(HashcliError, match=r"tiny cannot be updated: student\.safetensors is missing"):
        load_student(tiny_model)
