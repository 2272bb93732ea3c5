"""Bags of words."""

from pathlib import Path

import pytest

from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.datasets.vocabulary import bag_of_words, build_vocabulary, read_vocabulary, texts_of, words_of
from hashcli.errors import HashcliError
from tests.datasets.layouts import make_mirflickr


def test_a_word_is_a_run_of_letters_and_digits_of_any_script() -> None:
    assert words_of("A Dog's ball, plant_life 123bw; ÉTÉ собака 犬") == (
        ["a", "dog", "s", "ball", "plant", "life", "123bw", "été", "собака", "犬"]
    )


def test_the_vocabulary_is_ordered_by_texts_that_have_a_word_then_by_alphabet() -> None:
    """By hand: dog is in three texts; cat and the in two, cat standing twice in one of them; a and owl in one."""
    texts = ["the dog", "The DOG", "cat cat dog", "a cat owl"]
    assert build_vocabulary(texts) == ["dog", "cat", "the", "a", "owl"]
    assert build_vocabulary(texts, most=2) == ["dog", "cat"]
    assert build_vocabulary(reversed(texts)) == build_vocabulary(texts)


def test_bags_of_words() -> None:
    bags = bag_of_words(["dog, dog and cat", "nothing known", ""], ["cat", "owl", "dog"])
    assert bags.dtype == "uint8"
    assert bags.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_words_of_query_and_validation_alone_are_not_in_the_vocabulary(tmp_path: Path) -> None:
    """Each photo of the layout has a tag of its own, and one that all have."""
    dataset = load_dataset("mirflickr", make_mirflickr(tmp_path, photos=60))
    split = make_split(dataset, seed=0)
    vocabulary = build_vocabulary(texts_of(dataset, split.train))
    assert vocabulary[0] == "common"
    assert set(vocabulary[1:]) == {f"tag{dataset.ids[row][2:]}" for row in split.train}
    for part in (split.query, split.validation):
        assert bag_of_words(texts_of(dataset, part), vocabulary).sum(axis=1).tolist() == [1] * len(part)


def test_a_given_vocabulary_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("sky\nNikon\n2007\n")
    assert read_vocabulary(path) == ["sky", "nikon", "2007"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sky\nnew york\n", r"words\.txt:2: not a word: 'new york'"),
        ("sky\n\nred\n", r"words\.txt:2: not a word: ''"),
        ("sky\nred\nSky\n", r"words\.txt:3: 'sky' is already in line 1"),
        ("", "holds no words"),
    ],
)
def test_a_line_that_is_not_one_new_word_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(content)
    with pytest.raises(HashcliError, match=message):
        read_vocabulary(path)
