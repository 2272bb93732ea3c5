"""Which words of a text a tokenizer knows."""

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import find_model
from hashcli.hashmodel.tokenizer import known_words

WORDS = ["[PAD]", "[UNK]", "a", "dog", "pup", "##py", "##s"]


def words() -> Tokenizer:
    """A student's, which reads bags of words."""
    tokenizer = Tokenizer(models.WordLevel({word: id_ for id_, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def word_pieces() -> Tokenizer:
    """BERT's. It surrounds texts by tokens of its own, and here pads them."""
    tokenizer = Tokenizer(models.WordPiece({word: id_ for id_, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[PAD] $A [PAD]", special_tokens=[("[PAD]", 0)])
    tokenizer.enable_padding(length=12)
    return tokenizer


def sentence_pieces() -> Tokenizer:
    """T5's, which SigLIP uses."""
    pieces = ["<unk>", "▁", "▁a", "▁dog", "▁pup", "py"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


@pytest.mark.parametrize("kind", [words, word_pieces, sentence_pieces])
def test_unknown_words_are_named_as_the_text_has_them(kind: Callable[[], Tokenizer]) -> None:
    tokenizer = kind()
    assert known_words(tokenizer, "A dog") == (True, ())
    any_known, unknown = known_words(tokenizer, "a 日本 Dog 日本 ξ")
    assert any_known
    assert unknown == ("日本", "ξ")
    assert known_words(tokenizer, "日本 ξ") == (False, ("日本", "ξ"))
    assert known_words(tokenizer, " ") == (False, ())
    assert known_words(tokenizer, "puppy").any_known == (kind is not words)


def test_bytes_know_every_text() -> None:
    """CLIP's byte-pair encoding."""
    alphabet = {letter: id_ for id_, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert known_words(tokenizer, "日本 quark") == (True, ())


def test_of_words_that_are_split_the_listed_ones_are_known() -> None:
    tokenizer = word_pieces()
    for text, expected in {
        "Puppy": (False, ("Puppy",)),
        "a dog a puppy": (True, ("puppy",)),
        "puppy puppy": (False, ("puppy",)),
        "dog pup": (True, ()),
        "pups": (True, ()),
    }.items():
        assert known_words(tokenizer, text) != (False, ())
        assert known_words(tokenizer, text, {"puppies"}.__contains__) == expected
        assert known_words(tokenizer, text, {"puppy"}.__contains__).any_known


def test_the_model_that_ships_knows_words_and_no_nonsense() -> None:
    model = HashModel(find_model("lite-256"))
    known = "xylophone quark", "a dog on a beach", "Chihuahuas", "café au lait", "iPhone 13", "don't"
    for text in known:
        assert model.known_words(text) == (True, ())
    for text in ("asdfgh, qwerty!", "Schneeflöckchen", "собака на пляже"):
        assert not model.known_words(text).any_known
    assert model.known_words("a red blorp").unknown == ("blorp",)
    assert model.known_words("😀 ᚠ") == (False, ("😀", "ᚠ"))
    assert model.known_words("caf\udce9 dog").any_known
