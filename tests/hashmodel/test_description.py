"""model.json read back, and refused where a field is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hashcli.errors import HashcliError
from hashcli.hashmodel import description
from hashcli.hashmodel.description import FILE_NAME, MatchThreshold
from tests.conftest import make_tiny_model

MATCH = MatchThreshold(distance=5, miss_rate=0.05, false_alarm_rate=0.4, photos=1000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "tiny", seed=0)


def test_a_match_distance_is_read_back_and_leaves_the_fingerprint_alone(model: Path) -> None:
    without = description.read(model)
    assert without.match is None
    written = replace(without, match=MATCH).write(model)
    assert description.read(model).match == MATCH
    assert written.fingerprint == without.fingerprint


def test_a_description_from_before_match_distances_is_read(model: Path) -> None:
    content = json.loads((model / FILE_NAME).read_text())
    del content["match"]
    (model / FILE_NAME).write_text(json.dumps(content))
    assert description.read(model).match is None


@pytest.mark.parametrize(
    "match", [{"distance": 5}, {**vars(MATCH), "distance": "5"}, {**vars(MATCH), "distance": -1}, 5]
)
def test_a_wrong_match_threshold_is_damage(model: Path, match: object) -> None:
    content = json.loads((model / FILE_NAME).read_text())
    (model / FILE_NAME).write_text(json.dumps(content | {"match": match}))
    with pytest.raises(HashcliError, match="damaged"):
        description.read(model)


def test_a_word_list_leaves_the_fingerprint_alone_and_is_a_file_of_the_folder(model: Path) -> None:
    without = description.read(model)
    written = replace(without, word_list="word_list.txt").write(model)
    assert (written.word_list, written.fingerprint) == ("word_list.txt", without.fingerprint)
    content = json.loads((model / FILE_NAME).read_text())
    for wrong in ("../word_list.txt", "", 5):
        (model / FILE_NAME).write_text(json.dumps(content | {"word_list": wrong}))
        with pytest.raises(HashcliError, match="damaged"):
            description.read(model)


def test_an_interpolation_is_named_only_where_it_is_not_bicubic(model: Path) -> None:
    """So the models from before there was a choice keep their fingerprints."""
    before = description.read(model)
    assert before.image.interpolation == "bicubic"
    assert "interpolation" not in json.loads((model / FILE_NAME).read_text())["image"]
    image = replace(before.image, interpolation="bilinear")
    written = replace(before, image=image).write(model)
    assert description.read(model).image == image
    assert written.fingerprint != before.fingerprint
    assert replace(written, image=before.image).write(model).fingerprint == before.fingerprint
