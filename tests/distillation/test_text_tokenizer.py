"""open_clip's tokenizers as files: the same ids for a thousand texts."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("open_clip", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

from tokenizers import Tokenizer

from hashcli.distillation.text_tokenizer import build_tokenizer
from hashcli.errors import HashcliError
from tests.distillation.small_text_towers import save_sentence_pieces, save_word_pieces, varied_texts

TEXTS = varied_texts()
CONTEXT = 20


def open_clip_tokenizer(kind: str, clean: str, folder: Path) -> Any:
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    if kind == "byte pairs":
        return SimpleTokenizer(context_length=CONTEXT, clean=clean)
    (save_word_pieces if kind == "word pieces" else save_sentence_pieces)(folder)
    return HFTokenizer(str(folder), context_length=CONTEXT, clean=clean)


def saved(tokenizer: Any, folder: Path) -> Tokenizer:
    """Built for texts padded to the context, written and read back."""
    build_tokenizer(tokenizer, CONTEXT, full_length=True).save(str(folder / "built.json"))
    return Tokenizer.from_file(str(folder / "built.json"))


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
@pytest.mark.parametrize("kind", ["byte pairs", "word pieces", "sentence pieces"])
def test_the_ids_are_open_clips(kind: str, clean: str, tmp_path: Path) -> None:
    """With the special tokens, cut to the context and padded to it."""
    tokenizer = open_clip_tokenizer(kind, clean, tmp_path)
    given = [row.ids for row in saved(tokenizer, tmp_path).encode_batch(TEXTS)]
    expected = tokenizer(TEXTS).tolist()
    assert len(TEXTS) == 1000
    assert len({tuple(ids) for ids in expected}) > 300
    assert [text for text, a, b in zip(TEXTS, given, expected, strict=True) if a != b] == []


def test_texts_are_padded_to_the_longest_where_that_will_do(tmp_path: Path) -> None:
    for kind in ("byte pairs", "word pieces", "sentence pieces"):
        tokenizer = open_clip_tokenizer(kind, "whitespace", tmp_path)
        build_tokenizer(tokenizer, CONTEXT, full_length=False).save(str(tmp_path / "built.json"))
        short, long = Tokenizer.from_file(str(tmp_path / "built.json")).encode_batch(["a", "a dog runs"])
        length = sum(long.attention_mask)
        assert len(short.ids) == len(long.ids) == length < CONTEXT
        assert [short.ids, long.ids] == tokenizer(["a", "a dog runs"])[:, :length].tolist()


def test_siglips_own_tokenizer_always_canonicalises(tmp_path: Path) -> None:
    from open_clip.tokenizer import SigLipTokenizer
    from transformers import AutoTokenizer

    save_sentence_pieces(tmp_path)
    tokenizer = SigLipTokenizer.__new__(SigLipTokenizer)  # its own way to make one needs a file of sentencepiece's
    tokenizer.tokenizer, tokenizer.context_length = AutoTokenizer.from_pretrained(tmp_path), CONTEXT
    given = [row.ids for row in saved(tokenizer, tmp_path).encode_batch(TEXTS)]
    assert given == tokenizer(TEXTS).tolist()


@pytest.mark.parametrize("text", ["cafÃ© au lait", "P&eacute;rez", "&#233;t&#233;", "a\x85b", "!<start_of_text>"])
def test_some_texts_get_other_ids(text: str, tmp_path: Path) -> None:
    """Those that the module's docstring names: what Python repairs cannot be written as normalisers."""
    tokenizer = open_clip_tokenizer("byte pairs", "lower", tmp_path)
    assert saved(tokenizer, tmp_path).encode(text).ids != tokenizer([text])[0].tolist()


def test_a_tokenizer_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tokenizer = open_clip_tokenizer("word pieces", "lower", tmp_path)
    tokenizer.tokenizer_mode = "clips"
    with pytest.raises(HashcliError, match="places its tokens in the mode 'clips'"):
        build_tokenizer(tokenizer, CONTEXT, full_length=False)
    tokenizer = open_clip_tokenizer("byte pairs", "lower", tmp_path)
    tokenizer.clean_fn = str.strip
    with pytest.raises(HashcliError, match="cleans texts by strip, which hashcli does not know"):
        build_tokenizer(tokenizer, CONTEXT, full_length=False)
    with pytest.raises(HashcliError, match="a list, has no form that a hash model can hold"):
        build_tokenizer([], CONTEXT, full_length=False)
