"""A bag of words beside a text tower, which reads the same tokens: in training and in the exported graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("torch")

import torch

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.settings import text_parts
from hashcli.distillation.stored_graphs import open_session
from hashcli.distillation.student import load_student
from hashcli.distillation.token_bag import MOST_TOKENS, TOWER_NORM, TokenBag, join
from hashcli.distillation.towers import HashModelTower
from hashcli.hashmodel.model import HashModel
from tests.distillation.runs import Kept, short_settings, small_mirflickr, small_plan, some_pairs, update_plan
from tests.distillation.small_clip import make_small_clip

TEXTS = [
    "a dog on the sand",
    "sunset, sunset at sanfrancisco!",
    "Dog",
    "",
    "xylophone players in San Francisco: dogs " * 20,
]


@pytest.fixture(scope="module")
def word_pieces() -> TokenBag:
    """lite-256 reads word pieces: most of these words are several."""
    words = ["dog", "sunset", "sanfrancisco", "francisco", "xylophone", "café", "cafe", "x" * 300, "y" * 90, "dogs"]
    return TokenBag.of(words, HashModelTower("lite-256"))


def test_words_that_the_tokenizer_cannot_tell_apart_are_one(word_pieces: TokenBag) -> None:
    assert word_pieces.words == ["dog", "sunset", "sanfrancisco", "francisco", "xylophone", "café", "dogs"]
    assert len(set(map(len, word_pieces.tokens))) > 1
    assert max(map(len, word_pieces.tokens)) <= MOST_TOKENS


def test_a_word_is_found_where_its_tokens_follow_each_other(word_pieces: TokenBag) -> None:
    bags = word_pieces.bags(TEXTS)
    found = [{word for word, there in zip(word_pieces.words, row, strict=True) if there} for row in bags]
    assert found[:4] == [{"dog"}, {"sunset", "sanfrancisco"}, {"dog"}, set()]
    assert found[4] == {"xylophone", "francisco", "dogs"}


def test_the_graph_finds_the_same_words(word_pieces: TokenBag) -> None:
    nodes, weights = word_pieces.nodes("output", "bag_")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", None])]
    graph = helper.make_graph(nodes, "bag", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = open_session(model)
    for texts in (TEXTS, TEXTS[:1], TEXTS[3:4]):
        rows = word_pieces.tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.array([row.ids for row in rows], np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
        }
        assert np.array_equal(session.run(["output"], given)[0], word_pieces.bags(texts))


def test_features_and_bag_stand_side_by_side() -> None:
    joined = join(torch.tensor([[0.0, 0.5], [3.0, 4.0]]), torch.tensor([[1.0], [0.0]]))
    assert joined.tolist() == [[0, TOWER_NORM, 1], pytest.approx([0.6 * TOWER_NORM, 0.8 * TOWER_NORM, 0])]


def test_the_setting_names_a_bag_a_tower_or_both() -> None:
    assert [text_parts(text) for text in ("bag", "lite-256", "bag+local-dir:a+b")] == [
        (True, ""),
        (False, "lite-256"),
        (True, "local-dir:a+b"),
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> ImageTextDataset:
    """60 photos of dogs and skies, with words that the small models know."""
    pairs = small_mirflickr(tmp_path / "data")
    assert pairs.labels is not None
    texts = [["a dog" if row[0] else f"a cat {'rocket' * (number % 2)}"] for number, row in enumerate(pairs.labels)]
    return replace(pairs, texts=texts)


@pytest.mark.parametrize("kind", ["hash model", "open_clip"])
def test_a_student_with_both_is_exported(
    dataset: ImageTextDataset, tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    """The run itself compares the outputs of the exported model with the trained ones."""
    name = str(tiny_model) if kind == "hash model" else f"local-dir:{make_small_clip(tmp_path / 'clip')}"
    plan = small_plan(dataset, short_settings("soda", tiny_model, text=f"bag+{name}"), tmp_path)
    train_hash_models(plan, Kept())
    model = HashModel(plan.out / "model-16", verify=True)
    student = load_student(model.folder)
    assert set(student.vocabulary) == {"a", "dog", "cat", "rocket"}
    assert student.towers["student's text"].startswith("bag+")
    head = student.heads.text.first.in_features
    assert head == (64 if kind == "hash model" else 32) + 4
    outputs = model.encode_texts(["a dog", "a cat rocket", "rocket"])
    assert len(np.unique(outputs.round(4), axis=0)) == 3


def test_an_update_adds_words_beside_a_tower(dataset: ImageTextDataset, tiny_model: Path, tmp_path: Path) -> None:
    old = replace(dataset, texts=[["a dog"] for _ in dataset.texts])
    plan = small_plan(
        some_pairs(old, range(40)), short_settings("soda", tiny_model, text=f"bag+{tiny_model}"), tmp_path
    )
    train_hash_models(plan, Kept())
    update = update_plan(plan.out / "model-16", some_pairs(dataset, range(20, 58)), tmp_path, "new")
    train_hash_models(update, Kept())
    student = load_student(update.out / "model-16")
    assert student.vocabulary[:2] == ["a", "dog"]
    assert set(student.vocabulary[2:]) == {"cat", "rocket"}
