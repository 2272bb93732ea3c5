"""The three methods and their ablations on a planted problem."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation import ckdh, lcdh, soda
from hashcli.distillation.features import Features
from hashcli.distillation.heads import HashHead, StandardisedHead
from hashcli.distillation.towers import HashModelTower
from hashcli.distillation.trainer import Encoder, NoEvaluator
from hashcli.distillation.training_loop import EpochReport
from hashcli.distillation.training_set import TrainingSet
from hashcli.errors import HashcliError
from tests.distillation.planted import (
    BITS,
    CLASSES,
    PAIRED,
    make_trainer,
    make_training_set,
    mean_average_precisions,
    quick_settings,
    train,
    weights,
)


@pytest.mark.parametrize("method", PAIRED)
def test_a_method_learns_both_directions(method: str) -> None:
    trainer = make_trainer(method, make_training_set(400, seed=1))
    query, database = make_training_set(100, seed=2), make_training_set(300, seed=3)
    untrained = mean_average_precisions(trainer.new_heads(), query, database)
    trained = mean_average_precisions(train(trainer), query, database)
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
        ("soda", {"label_codes": False}),
        ("soda", {"pairs": 0.0}),
        ("ckdh", {"distil": False}),
        ("ckdh", {"graph_attention": False}),
        ("lcdh", {"distil": False}),
        ("lcdh", {"attention": False}),
        ("lcdh", {"teacher_share": 1.0}),
        ("lcdh", {"teacher_share": 0.0}),
        ("lcdh", {"teacher_data": "rounds"}),
        ("lcdh", {"averaged": False}),
        ("ckdh", {"graded": True}),
        ("ckdh", {"image_share": 0.0, "text_share": 0.0}),
        ("ckdh", {"student_likelihood": 0.0}),
        ("ckdh", {"teacher_share": 1.0}),
        ("ckdh", {"teacher_share": 0.0}),
        ("ckdh", {"schedule": "constant"}),
    ],
)
def test_each_ablation_learns_and_is_not_the_method(method: str, settings: dict[str, Any]) -> None:
    training_set = make_training_set(400, seed=1)
    without = train(make_trainer(method, training_set, **settings))
    one_step: dict[str, Any] = {name: 1 for name in ("epochs", "round_steps") if name in quick_settings(method)}
    whole = train(make_trainer(method, training_set, **one_step))
    short = train(make_trainer(method, training_set, **one_step | settings))
    if settings.get("label_input") == "names":  # this planted teacher finds the same names in both sentences
        assert weights(short.modules()) == weights(whole.modules())
    else:
        assert weights(short.modules()) != weights(whole.modules())
    for value, chance in mean_average_precisions(without, make_training_set(100, seed=2), training_set).values():
        assert value > chance + 0.2


def test_soda_refuses_a_dataset_without_labels_before_anything_is_computed(tiny_model: Path) -> None:
    settings = make_trainer("soda", make_training_set(4, seed=1)).settings
    tower = HashModelTower(str(tiny_model))
    with pytest.raises(HashcliError, match="this dataset has no labels") as raised:
        soda.METHOD.check(settings, ImageTextDataset("own", ["1"], [Path("1.jpg")], [["a text"]]), tower)
    assert "--" not in raised.value.remedy


@pytest.mark.parametrize("method", ["ckdh", "lcdh"])
def test_without_labels_the_teacher_says_what_is_similar(method: str) -> None:
    """A quarter of the pairs, which is about how many share a class."""
    training_set = make_training_set(400, seed=1, labels=False, neighbours=0.25)
    heads = train(make_trainer(method, training_set))
    measured = mean_average_precisions(heads, make_training_set(100, seed=2), make_training_set(300, seed=3))
    for value, chance in measured.values():
        assert value > chance + 0.15


def test_the_stream_of_lcdh() -> None:
    """A round's database is what was seen by then; in the end every row, and each came once. Small rounds have more
    passes: 34 rows are one batch of 64, or four of 10."""
    training_set = make_training_set(100, seed=1)
    seen: list[torch.Tensor] = []
    before: list[torch.Tensor] = []

    class Rounds(NoEvaluator):
        def report_stream(self, what: str, encode: Encoder, rows: torch.Tensor, stored: torch.Tensor | None) -> None:
            number, codes = what.split(", ")
            if stored is None:
                assert (number, codes) == (f"round {len(seen)}", "encoded anew")
                return
            assert (number, codes) == (f"round {len(seen) + 1}", "stored codes")
            assert stored.shape == (len(rows), BITS)
            assert set(stored.unique().tolist()) <= {-1.0, 1.0}
            if seen:
                assert torch.equal(stored[: len(before[-1])], before[-1])  # old codes stay
            seen.append(rows)
            before.append(stored)

    def passes(**settings: Any) -> list[int]:
        epochs: list[EpochReport] = []
        trainer = make_trainer("lcdh", training_set, None, epochs.append, epochs=1, round_steps=8, **settings)
        lcdh.train_lcdh(replace(trainer, evaluator=Rounds()))
        return [epoch.of for epoch in epochs if epoch.number == epoch.of and "round" in epoch.stage]

    assert passes() == [8, 8, 8]
    assert [len(rows) for rows in seen] == [34, 67, 100]
    assert seen[2].sort().values.tolist() == list(range(100))
    assert torch.equal(seen[1][:34], seen[0])
    seen.clear()
    assert passes(batch=10) == [2, 2, 2]


@pytest.mark.parametrize("distil", [True, False])
def test_a_stream_learns_nothing_of_rounds_to_come(distil: bool) -> None:
    """With `teacher_data=rounds`, other items in the later rounds leave the codes of the first one as they were."""
    training_set = make_training_set(90, seed=1)
    first = torch.randperm(90, generator=torch.Generator().manual_seed(0))[:30]  # the stream's order, by its seed
    changed = {}
    for name in ("image", "text", "teacher_image", "teacher_text"):
        values = getattr(training_set, name)
        changed[name] = torch.rand(values.shape, generator=torch.Generator().manual_seed(2))
        changed[name][first] = values[first]
    stored: list[torch.Tensor] = []

    class FirstRound(NoEvaluator):
        def report_stream(self, what: str, encode: Encoder, rows: torch.Tensor, codes: torch.Tensor | None) -> None:
            if what == "round 1, stored codes":
                assert codes is not None
                stored.append(codes)

    for one in (training_set, replace(training_set, **changed)):
        trainer = make_trainer("lcdh", one, teacher_data="rounds", distil=distil, epochs=1, round_steps=2)
        train(replace(trainer, evaluator=FirstRound()))
    assert torch.equal(stored[0], stored[1])


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)))


def likelihood(a: np.ndarray, b: np.ndarray, similar: np.ndarray, sharpness: float = 5.0) -> float:
    """Of Theta = sharpness cos(a, b)."""
    theta = sharpness * cosine(a, b)
    return float((np.log(1 + np.exp(theta)) - similar * theta).mean())


def logistic(theta: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-theta)))


def relaxed(head: torch.nn.Module, features: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.tanh(head(features).double().numpy())


def values(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def few_labels(training_set: TrainingSet, share: float) -> TrainingSet:
    """The same with labels for the first rows alone."""
    assert training_set.labels is not None
    labels = training_set.labels.clone()
    labels[round(share * len(labels)) :] = 0
    return replace(training_set, labels=labels)


@pytest.mark.parametrize("method", PAIRED)
def test_pairs_without_labels_are_learned_from_the_teacher(method: str) -> None:
    """With labels for a tenth of the rows, a student of a teacher that sees clearly is better than one without."""
    training_set = few_labels(make_training_set(400, seed=1, teacher_noise=0.2), 0.1)
    query, database = make_training_set(100, seed=2), make_training_set(300, seed=3)
    settings: dict[str, Any] = {"epochs": 20, "labelled_steps": 100} | ({"round_steps": 60} if method == "lcdh" else {})
    trainers = [make_trainer(method, training_set, distil=distil, **settings) for distil in (True, False)]
    taught, alone = (mean_average_precisions(train(trainer), query, database) for trainer in trainers)
    for direction, (value, chance) in taught.items():
        assert value > chance + 0.2, (direction, value, chance)
        assert value > alone[direction][0] + 0.02, (direction, value, alone[direction])


@pytest.mark.parametrize("method", PAIRED)
def test_without_a_teacher_rows_without_labels_have_no_part(method: str) -> None:
    """Noise in their place makes the same student."""
    training_set = few_labels(make_training_set(60, seed=1), 0.5)
    noise = {}
    for name in ("image", "text", "teacher_image", "teacher_text"):
        noise[name] = getattr(training_set, name).clone()
        noise[name][30:] = torch.rand(30, noise[name].shape[1])
    settings: dict[str, Any] = {"distil": False, "epochs": 1, "labelled_steps": 2}
    one, other = (
        train(make_trainer(method, each, **settings)) for each in (training_set, replace(training_set, **noise))
    )
    assert weights(one.modules()) == weights(other.modules())


def test_the_codes_that_sodas_student_learns() -> None:
    """sign(H^v + H^l), of a row's image and its labels; of a row without labels, or without `label_codes`, of H^v."""
    training_set = few_labels(make_training_set(8, seed=1), 0.5)
    trainer = make_trainer("soda", training_set)
    teacher = soda.TeacherNetwork.for_trainer(trainer)
    teacher.modules().eval()
    rows = torch.tensor([1, 2, 5, 7])
    features = training_set.teacher_image[rows]
    image, label = relaxed(teacher.image_head, features), relaxed(teacher.label_head, teacher.labels[rows])
    both = np.where(image + [[1], [1], [0], [0]] * label > 0, 1, -1)
    of_images = np.where(image > 0, 1, -1)
    assert (both[:2] != of_images[:2]).any()
    assert np.array_equal(teacher.codes(features, rows, training_set.labelled).numpy(), both)
    assert np.array_equal(teacher.codes(features, rows, torch.arange(0)).numpy(), of_images)


def test_what_ckdhs_student_learns_of_pairs_with_and_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pair with labels, the teacher's similarity at its share, and theirs; of any other, the teacher's alone."""
    rng = np.random.default_rng(0)
    cosines, probabilities = rng.uniform(-1, 1, (4, 4)), rng.uniform(0, 1, (4, 4))
    teacher = torch.tensor(cosines).float(), torch.tensor(probabilities).float()
    monkeypatch.setattr(ckdh, "_train_teacher", lambda trainer: lambda rows: teacher)
    rows = torch.tensor([0, 3, 5, 7])

    def learned(training_set: TrainingSet, **settings: Any) -> list[np.ndarray]:
        trainer = make_trainer("ckdh", training_set, **settings)
        return [one.double().numpy() for one in ckdh._taught_similarities(trainer)(rows)]

    training_set = make_training_set(8, seed=1)
    assert training_set.labels is not None
    labels = training_set.labels[rows].numpy()
    similar = (labels @ labels.T > 0).astype(float)
    assert 0 < similar.mean() < 1
    mixed = [0.3 * cosines + 0.7 * (2 * similar - 1), 0.3 * probabilities + 0.7 * similar]
    target, probability = learned(training_set, teacher_share=0.3)
    assert target == pytest.approx(mixed[0], abs=1e-6)
    assert probability == pytest.approx(mixed[1], abs=1e-6)

    partly = learned(few_labels(training_set, 0.5), teacher_share=0.3)  # of rows 0 and 3
    known = np.outer([1, 1, 0, 0], [1, 1, 0, 0]) == 1
    for given, both, taught in zip(partly, mixed, (cosines, probabilities), strict=True):
        assert given == pytest.approx(np.where(known, both, taught), abs=1e-6)

    without = learned(replace(training_set, labels=None), teacher_share=0.3)
    assert without[0] == pytest.approx(cosines)
    assert without[1] == pytest.approx(probabilities)


def test_the_weights_of_lcdh_are_the_mean_over_its_rounds(tmp_path: Path) -> None:
    """A round's checkpoint has the weights at its end."""
    training_set = make_training_set(60, seed=1)

    def trained(folder: Path, **settings: Any) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
        folder.mkdir()
        heads = train(make_trainer("lcdh", training_set, folder, epochs=1, round_steps=2, **settings))
        ends = [torch.load(folder / f"lcdh-round-{number}.pt", weights_only=True)["modules"] for number in (1, 2, 3)]
        first, *rest = (
            {name: value.double().numpy() for name, value in one.items()}
            for one in (heads.modules().state_dict(), *ends)
        )
        return first, rest

    weights, ends = trained(tmp_path / "averaged")
    for name, value in weights.items():
        assert value == pytest.approx(np.mean([end[name] for end in ends], axis=0), abs=1e-6)
    assert not np.allclose(weights["text.last.weight"], ends[-1]["text.last.weight"], atol=1e-4)
    last, ends = trained(tmp_path / "last", averaged=False)
    assert all(np.array_equal(value, ends[-1][name]) for name, value in last.items())


def test_a_share_of_features_and_words_is_left_out_of_the_students_heads() -> None:
    trainer = make_trainer("ckdh", make_training_set(20, seed=1), image_dropout=0.4, text_dropout=0.2)
    heads = trainer.new_heads()
    assert isinstance(heads.image, StandardisedHead)
    assert isinstance(heads.text, HashHead)
    assert (heads.image.head.input_dropout.p, heads.text.input_dropout.p) == (0.4, 0.2)


def test_sodas_stages_are_joined_with_few_labels_too() -> None:
    training_set = few_labels(make_training_set(100, seed=1), 0.02)
    epochs: list[EpochReport] = []
    train(make_trainer("soda", training_set, None, epochs.append, two_stages=False, epochs=2, batch=32))
    assert all(np.isfinite(list(epoch.losses.values())).all() for epoch in epochs)


@pytest.mark.parametrize("method", PAIRED)
def test_labels_of_one_photo_are_too_few(method: str) -> None:
    with pytest.raises(HashcliError, match="fewer than two training photos have labels"):
        train(make_trainer(method, few_labels(make_training_set(100, seed=1), 0.01)))


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
    training_set = make_training_set(3, seed=1)
    labels = torch.zeros(3, CLASSES)
    labels[[0, 1, 1, 2], [0, 0, 1, 2]] = 1

    def prompts(sentences: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(sentence)), sentence.count("class")] for sentence in sentences])

    def seen(**settings: Any) -> list[list[float]]:
        changed = replace(training_set, labels=labels, prompts=prompts)
        return soda.label_features(make_trainer("soda", changed, prompt="see {}!", **settings)).tolist()

    assert seen() == [[len("see class 0!"), 1], [len("see class 0 and class 1!"), 2], [len("see class 2!"), 1]]
    assert seen(label_input="names") == [[len("class 0"), 1], [len("class 0 class 1"), 2], [len("class 2"), 1]]
    unit = np.array([len("see class 0!"), 1]) / np.hypot(len("see class 0!"), 1)
    assert seen(label_input="mean") == [pytest.approx(unit)] * 3
    assert seen(label_input="classes") == labels.tolist()


@pytest.mark.parametrize(("labels", "share"), [(False, 1.0), (True, 0.2)])
def test_the_terms_of_ckdh(labels: bool, share: float) -> None:
    """With labels, those of the cosines have a share of their weights."""
    rng = np.random.default_rng(0)
    image, text = rng.uniform(-1, 1, (4, BITS)), rng.uniform(-1, 1, (4, BITS))
    target, probability = rng.uniform(-1, 1, (4, 4)), rng.uniform(0, 1, (4, 4))

    training_set = make_training_set(4, seed=1, labels=labels)
    trainer = make_trainer("ckdh", training_set, sharpness=3.0, label_cosines=0.2)
    weights = ckdh.TermWeights(1.0, 0.5, 2.0)
    terms = ckdh._terms(trainer, weights, *(torch.tensor(one) for one in (image, text, target, probability)))
    if labels:  # without, similar pairs weigh as much as all others
        assert terms["likelihood"].item() == pytest.approx(likelihood(image, text, probability, sharpness=3))
    within = ((cosine(image, image) - target) ** 2).mean() + ((cosine(text, text) - target) ** 2).mean()
    assert terms["intra"].item() == pytest.approx(share * 0.5 * within)
    assert terms["inter"].item() == pytest.approx(share * 2 * ((cosine(image, text) - target) ** 2).mean())


@pytest.mark.parametrize("all_labelled", [True, False])
def test_the_terms_of_sodas_student(all_labelled: bool) -> None:
    """Of images and texts the same: against the teacher's fixed codes, among each other, and the codes' distances; and
    images against texts. Of a pair without labels, row 7 here, the codes say how similar it is."""
    training_set = make_training_set(8, seed=1)
    if not all_labelled:
        training_set = few_labels(training_set, 6 / 8)
    settings: dict[str, Any] = {"instance": 2.0, "relation": 3.0, "quantisation": 0.5, "pairs": 4.0, "sharpness": 3.0}
    trainer = make_trainer("soda", training_set, **settings)
    heads = trainer.new_heads()
    heads.modules().eval()
    rows = torch.tensor([1, 2, 5, 7])
    codes = np.where(np.random.default_rng(0).random((4, BITS)) < 0.5, -1.0, 1.0)
    both = [relaxed(heads.image, training_set.image[rows]), relaxed(heads.text, training_set.text[rows])]
    assert training_set.labels is not None
    labels = training_set.labels[rows].numpy()
    similar = (labels @ labels.T > 0).astype(float)
    if not all_labelled:
        similar[3], similar[:, 3] = logistic(3 * codes @ codes[3] / BITS), logistic(3 * codes @ codes[3] / BITS)
    terms = values(soda._student_loss(trainer, heads, torch.tensor(codes).float(), rows))
    expected = {
        "likelihood": sum(likelihood(codes, h, similar, 3) + likelihood(h, h, similar, 3) / 2 for h in both),
        "instance": sum(2 * ((h - codes) ** 2).sum() / (4 * BITS) for h in both),
        "relation": sum(3 * (((h @ codes.T - codes @ codes.T) / BITS) ** 2).mean() for h in both),
        "quantisation": sum(0.5 * ((h - np.where(h > 0, 1, -1)) ** 2).mean() for h in both),
        "pairs": 4 * likelihood(both[0], both[1], similar, 3),
    }
    assert terms == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("two_stages", [True, False])
def test_sodas_student_learns_from_what_its_teacher_sees_of_the_images(two_stages: bool) -> None:
    """With few labels, noise in place of the teacher's features of the images makes a worse student; without a teacher,
    the same one."""
    training_set = few_labels(make_training_set(400, seed=1, teacher_noise=0.2), 0.1)
    noise = torch.randn(training_set.teacher_image.shape, generator=torch.Generator().manual_seed(0))
    blind = replace(training_set, teacher_image=torch.nn.functional.normalize(noise))
    query, database = make_training_set(100, seed=2), make_training_set(300, seed=3)
    settings: dict[str, Any] = {"two_stages": two_stages, "labelled_steps": 100}
    good, bad = (train(make_trainer("soda", one, **settings)) for one in (training_set, blind))
    worse = mean_average_precisions(bad, query, database)
    for direction, (value, _) in mean_average_precisions(good, query, database).items():
        assert value > worse[direction][0] + 0.05
    without: dict[str, Any] = {"distil": False, "epochs": 1, "labelled_steps": 2}
    alone = [train(make_trainer("soda", one, **without)) for one in (training_set, blind)]
    assert weights(alone[0].modules()) == weights(alone[1].modules())


def test_the_teacher_of_soda_encodes_the_teachers_features_of_images() -> None:
    """What is evaluated as the teacher's does not depend on the student's features, and is near the student's codes."""
    training_set = make_training_set(200, seed=1)
    outputs: list[torch.Tensor] = []
    seen = Features(
        training_set.photos,
        training_set.photo_of,
        training_set.teacher_image,
        training_set.teacher_text,
        torch.full_like(training_set.image, torch.nan),
        torch.full_like(training_set.text, torch.nan),
    )

    class Teacher(NoEvaluator):
        def report(self, what: str, encode: Encoder) -> None:
            assert what == "soda's teacher"
            with torch.no_grad():
                encoded = encode(seen)
            assert encoded.keys() == {"image"}
            outputs.append(encoded["image"])

    heads = train(replace(make_trainer("soda", training_set), evaluator=Teacher()))
    assert len(outputs) == 1
    with torch.no_grad():
        same_bits = (heads.image(training_set.image) > 0) == (outputs[0] > 0)
    assert same_bits.float().mean() > 0.7


@pytest.mark.parametrize(("bits", "sharpness"), [(16, 4.0), (256, 5.0)])
def test_the_terms_of_a_round_of_lcdh(bits: int, sharpness: float) -> None:
    """With the teacher's logistic and the labels at 0.3 and 0.7, and anchors of other rows."""
    training_set = make_training_set(12, seed=1)
    settings: dict[str, Any] = {"teacher_share": 0.3, "kappa": 0.2, "lambda1": 0.2, "lambda2": 0.4, "quantisation": 0.5}
    trainer = replace(make_trainer("lcdh", training_set, sharpness=sharpness, **settings), bits=bits)
    heads = trainer.new_heads()
    heads.modules().eval()
    rng = np.random.default_rng(0)
    teacher, codes = rng.uniform(-1, 1, (12, bits)), np.where(rng.random((5, bits)) < 0.5, -1.0, 1.0)
    rows, anchors = torch.tensor([1, 2, 5, 7]), torch.tensor([0, 3, 4, 6, 8])

    def target(others: torch.Tensor) -> np.ndarray:
        taught = logistic(0.2 * sharpness * cosine(teacher[rows], teacher[others]))
        return np.asarray(0.3 * taught + 0.7 * training_set.similarity(rows, others).numpy())

    image, text = relaxed(heads.image, training_set.image[rows]), relaxed(heads.text, training_set.text[rows])
    both = np.where(image + text > 0, 1, -1)
    now, old = target(rows), target(anchors)
    expected = {
        "inter": likelihood(image, text, now, sharpness),
        "intra": 0.2 * (likelihood(image, image, now, sharpness) + likelihood(text, text, now, sharpness)) / 2,
        "quantisation": 0.5 * (((image - both) ** 2).mean() + ((text - both) ** 2).mean()),
        "old": 0.4 * (likelihood(image, codes, old, sharpness) + likelihood(text, codes, old, sharpness)) / 2,
    }
    old_items = lcdh.OldItems(anchors, torch.tensor(codes).float())
    terms = lcdh._round_loss(trainer, heads, torch.tensor(teacher).float(), rows, old_items)
    assert values(terms) == pytest.approx(expected, rel=1e-4)
    first = lcdh._round_loss(trainer, heads, None, rows, lcdh.OldItems(anchors[:0], torch.empty(0, bits)))
    assert first.keys() == {"inter", "intra", "quantisation"}
    labels = training_set.similarity(rows).numpy()
    assert first["inter"].item() == pytest.approx(likelihood(image, text, labels, sharpness), rel=1e-4)


def test_the_similarities_that_the_teacher_of_ckdh_gives() -> None:
    """S_T is the mean of each modality's cosines and of the two across, by their shares; P_T its logistic."""
    training_set = make_training_set(60, seed=1)
    settings: dict[str, Any] = {
        "kappa": 0.5,
        "sharpness": 3.0,
        "image_share": 3.0,
        "text_share": 1.0,
        "cross_share": 2.0,
    }
    trainer = make_trainer("ckdh", training_set, epochs=1, **settings)
    outputs: dict[str, torch.Tensor] = {}

    class Teacher(NoEvaluator):
        def report(self, what: str, encode: Encoder) -> None:
            features = Features(
                training_set.photos,
                training_set.photo_of,
                training_set.teacher_image,
                training_set.teacher_text,
                training_set.image,
                training_set.text,
            )
            with torch.no_grad():
                outputs.update(encode(features))

    similar, probability = ckdh._train_teacher(replace(trainer, evaluator=Teacher()))(torch.arange(60))
    image, text = (np.tanh(outputs[kind].double().numpy()) for kind in ("image", "text"))
    image, text = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (image, text))
    expected = (3 * image @ image.T + text @ text.T + image @ text.T + text @ image.T) / 6
    assert similar.numpy() == pytest.approx(expected, abs=1e-5)
    assert probability.numpy() == pytest.approx(logistic(0.5 * 3 * expected), abs=1e-5)
