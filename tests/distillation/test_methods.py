"""The three methods and their ablations on a planted problem."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation import ckdh, lcdh, soda
from hashcli.distillation.material import Encode, NoMeasure
from hashcli.distillation.training import Epoch
from hashcli.errors import HashcliError
from tests.distillation.planted import BITS, CLASSES, make_job, make_material, mean_average_precisions, weights

METHODS = {"soda": soda.distill, "ckdh": ckdh.distill, "lcdh": lcdh.distill}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_both_directions(method: str) -> None:
    job = make_job(make_material(400, seed=1))
    query, database = make_material(100, seed=2), make_material(300, seed=3)
    untrained = mean_average_precisions(job.hashers(), query, database)
    trained = mean_average_precisions(METHODS[method](job), query, database)
    for direction, (value, chance) in trained.items():
        assert value > chance + 0.25, (direction, value, chance)
        assert value > untrained[direction][0] + 0.2, (direction, value, untrained[direction])


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("soda", {"distil": False}),
        ("soda", {"two_stages": False}),
        ("soda", {"label_input": "names"}),
        ("soda", {"label_input": "mean"}),
        ("soda", {"label_input": "classes"}),
        ("ckdh", {"distil": False}),
        ("ckdh", {"graph_attention": False}),
        ("lcdh", {"distil": False}),
        ("lcdh", {"attention": False}),
        ("lcdh", {"teacher_share": 1.0}),
        ("lcdh", {"teacher_share": 0.0}),
    ],
)
def test_each_ablation_learns_and_is_not_the_method(method: str, settings: dict[str, Any]) -> None:
    material = make_material(400, seed=1)
    without = METHODS[method](make_job(material, **settings))
    whole = METHODS[method](make_job(material, epochs=1, round_steps=1))
    short = METHODS[method](make_job(material, epochs=1, round_steps=1, **settings))
    if settings.get("label_input") == "names":  # this planted teacher finds the same names in both sentences
        assert weights(short.modules()) == weights(whole.modules())
    else:
        assert weights(short.modules()) != weights(whole.modules())
    for value, chance in mean_average_precisions(without, make_material(100, seed=2), material).values():
        assert value > chance + 0.2


def test_no_labels_of_soda_is_an_error_that_says_so() -> None:
    with pytest.raises(HashcliError, match="this dataset has no labels"):
        soda.distill(make_job(make_material(100, seed=1, labels=False)))


@pytest.mark.parametrize("method", ["ckdh", "lcdh"])
def test_without_labels_the_teacher_says_what_is_similar(method: str) -> None:
    """A quarter of the pairs, which is about how many share a class."""
    material = make_material(400, seed=1, labels=False, neighbours=0.25)
    hashers = METHODS[method](make_job(material))
    measured = mean_average_precisions(hashers, make_material(100, seed=2), make_material(300, seed=3))
    for value, chance in measured.values():
        assert value > chance + 0.15


def test_the_stream_of_lcdh() -> None:
    """A round's database is what was seen by then; in the end every row, and each came once. Small rounds have more
    passes: 34 rows are one batch of 64, or four of 10."""
    material = make_material(100, seed=1)
    seen: list[torch.Tensor] = []

    class Rounds(NoMeasure):
        def report_validation(self, what: str, encode: Encode, rows: torch.Tensor | None) -> None:
            assert rows is not None
            assert what == f"validation, round {len(seen) + 1}"
            seen.append(rows)

    def passes(**settings: Any) -> list[int]:
        told: list[Epoch] = []
        job = make_job(material, None, told.append, epochs=1, round_steps=8, **settings)
        lcdh.distill(replace(job, measure=Rounds()))
        return [epoch.of for epoch in told if epoch.number == epoch.of and "round" in epoch.stage]

    assert passes() == [8, 8, 8]
    assert [len(rows) for rows in seen] == [34, 67, 100]
    assert seen[2].sort().values.tolist() == list(range(100))
    assert torch.equal(seen[1][:34], seen[0])
    seen.clear()
    assert passes(batch=10) == [2, 2, 2]


def test_label_prompts() -> None:
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 1]])
    names = ["sky", "plant life", "people"]
    assert soda.label_prompts(labels, names, "a photo of {}.") == [
        "a photo of sky.",
        "a photo of plant life and people.",
        "a photo of sky, plant life and people.",
    ]
    assert soda.label_prompts(labels, names, "{}") == ["sky", "plant life people", "sky plant life people"]


def test_what_the_label_network_of_soda_sees() -> None:
    """The encoder of sentences here gives their length, and how many times they name a class."""
    material = make_material(3, seed=1)
    labels = torch.zeros(3, CLASSES)
    labels[[0, 1, 1, 2], [0, 0, 1, 2]] = 1

    def prompts(sentences: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(sentence)), sentence.count("class")] for sentence in sentences])

    def seen(**settings: Any) -> list[list[float]]:
        job = make_job(replace(material, labels=labels, prompts=prompts), prompt="see {}!", **settings)
        return soda.label_features(job).tolist()

    assert seen() == [[len("see class 0!"), 1], [len("see class 0 and class 1!"), 2], [len("see class 2!"), 1]]
    assert seen(label_input="names") == [[len("class 0"), 1], [len("class 0 class 1"), 2], [len("class 2"), 1]]
    unit = np.array([len("see class 0!"), 1]) / np.hypot(len("see class 0!"), 1)
    assert seen(label_input="mean") == [pytest.approx(unit)] * 3
    assert seen(label_input="classes") == labels.tolist()


def test_the_terms_of_ckdh() -> None:
    rng = np.random.default_rng(0)
    image, text = rng.uniform(-1, 1, (4, BITS)), rng.uniform(-1, 1, (4, BITS))
    target, probability = rng.uniform(-1, 1, (4, 4)), rng.uniform(0, 1, (4, 4))

    def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)))

    job = make_job(make_material(4, seed=1), intra=0.5, inter=2.0)
    terms = ckdh._terms(job, *(torch.tensor(one) for one in (image, text, target, probability)))
    theta = image @ text.T / 2
    assert terms["likelihood"].item() == pytest.approx((np.log(1 + np.exp(theta)) - probability * theta).mean())
    within = ((cosine(image, image) - target) ** 2).mean() + ((cosine(text, text) - target) ** 2).mean()
    assert terms["intra"].item() == pytest.approx(0.5 * within)
    assert terms["inter"].item() == pytest.approx(2 * ((cosine(image, text) - target) ** 2).mean())
