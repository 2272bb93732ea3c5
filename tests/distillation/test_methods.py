"""The three methods and their ablations on a planted problem."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation import ckdh, lcdh, soda
from hashcli.distillation.material import Encode, Features, NoMeasure
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


def likelihood(theta: np.ndarray, similar: np.ndarray) -> float:
    return float((np.log(1 + np.exp(theta)) - similar * theta).mean())


def relaxed(head: torch.nn.Module, features: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.tanh(head(features).double().numpy())


def values(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def test_the_terms_of_sodas_student() -> None:
    """The text's codes against each other, the image's fixed codes, and the distances among these."""
    material = make_material(8, seed=1)
    job = make_job(material, instance=2.0, relation=3.0, quantisation=0.5)
    hashers = job.hashers()
    hashers.modules().eval()
    rows = torch.tensor([1, 2, 5, 7])
    codes = np.where(np.random.default_rng(0).random((4, BITS)) < 0.5, -1.0, 1.0)
    text, similar = relaxed(hashers.text, material.text[rows]), material.similarity(rows).numpy()
    terms = values(soda._student(job, hashers, torch.tensor(codes).float(), rows))
    expected = {
        "likelihood": likelihood(codes @ text.T / 2, similar) + likelihood(text @ text.T / 2, similar) / 2,
        "instance": 2 * ((text - codes) ** 2).sum() / (4 * BITS),
        "relation": 3 * (((text @ codes.T - codes @ codes.T) / BITS) ** 2).mean(),
        "quantisation": 0.5 * ((text - np.where(text > 0, 1, -1)) ** 2).mean(),
    }
    assert terms == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("bits", "scale"), [(16, 4), (32, 8), (64, 10), (128, 12), (256, 12)])
def test_the_terms_of_a_round_of_lcdh(bits: int, scale: float) -> None:
    """With the teacher's logistic and the labels at 0.3 and 0.7, and anchors of other rows."""
    material = make_material(12, seed=1)
    settings: dict[str, Any] = {"teacher_share": 0.3, "lambda1": 0.2, "lambda2": 0.4, "quantisation": 0.5}
    job = replace(make_job(material, **settings), bits=bits)
    hashers = job.hashers()
    hashers.modules().eval()
    rng = np.random.default_rng(0)
    teacher, codes = rng.uniform(-1, 1, (12, bits)), np.where(rng.random((5, bits)) < 0.5, -1.0, 1.0)
    rows, anchors = torch.tensor([1, 2, 5, 7]), torch.tensor([0, 3, 4, 6, 8])

    def target(others: torch.Tensor) -> np.ndarray:
        told = 1 / (1 + np.exp(-teacher[rows] @ teacher[others].T / 2))
        return np.asarray(0.3 * told + 0.7 * material.similarity(rows, others).numpy())

    def told(a: np.ndarray, b: np.ndarray, similar: np.ndarray) -> float:
        return likelihood(scale / bits * a @ b.T, similar)

    image, text = relaxed(hashers.image, material.image[rows]), relaxed(hashers.text, material.text[rows])
    both = np.where(image + text > 0, 1, -1)
    now, old = target(rows), target(anchors)
    expected = {
        "inter": told(image, text, now),
        "intra": 0.2 * (told(image, image, now) + told(text, text, now)) / 2,
        "quantisation": 0.5 * (((image - both) ** 2).mean() + ((text - both) ** 2).mean()),
        "old": 0.4 * (told(image, codes, old) + told(text, codes, old)) / 2,
    }
    tensors = torch.tensor(teacher).float(), rows, anchors, torch.tensor(codes).float()
    assert values(lcdh._round(job, hashers, *tensors)) == pytest.approx(expected, rel=1e-4)
    first = lcdh._round(job, hashers, None, rows, anchors[:0], torch.empty(0, bits))
    assert first.keys() == {"inter", "intra", "quantisation"}
    labels = material.similarity(rows).numpy()
    assert first["inter"].item() == pytest.approx(told(image, text, labels), rel=1e-4)


def test_the_similarities_that_the_teacher_of_ckdh_tells() -> None:
    """S_T is a quarter of each modality's cosines and of the two across; P_T its logistic. Both are symmetric."""
    material = make_material(60, seed=1)
    job = make_job(material, epochs=1, kappa=0.5)
    outputs: dict[str, torch.Tensor] = {}

    class Teacher(NoMeasure):
        def report(self, what: str, encode: Encode) -> None:
            features = Features(
                material.photos,
                material.photo,
                material.teacher_image,
                material.teacher_text,
                material.image,
                material.text,
            )
            with torch.no_grad():
                outputs.update(encode(features))

    similar, probability = ckdh._teacher(replace(job, measure=Teacher()))(torch.arange(60))
    image, text = (np.tanh(outputs[kind].double().numpy()) for kind in ("image", "text"))
    image, text = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (image, text))
    expected = (image @ image.T + text @ text.T + image @ text.T + text @ image.T) / 4
    assert similar.numpy() == pytest.approx(expected, abs=1e-5)
    assert probability.numpy() == pytest.approx(1 / (1 + np.exp(-0.5 * BITS * expected / 2)), abs=1e-5)
