"""The tokenizer of a hash model: how it is loaded, and which words of a text it knows."""

from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from hashcli.errors import HashcliError, reason_of
from hashcli.plain_files import open_plain


class KnownWords(NamedTuple):
    """Whether a hash model knows any word of a text, and the words that it does not know, as the text has them."""

    any_known: bool
    unknown: tuple[str, ...]


def load_tokenizer(path: Path, max_tokens: int) -> Any:
    """The tokenizer in a file, which cuts texts to `max_tokens`. Raises HashcliError if the file is damaged."""
    from tokenizers import Tokenizer

    try:
        open_plain(path).close()  # or a pipe would be waited for
        tokenizer = Tokenizer.from_file(str(path))
    except PermissionError as error:
        raise HashcliError(f"{path} cannot be read: {reason_of(error)}.") from error
    except Exception as error:  # the library raises nothing narrower
        raise HashcliError(f"{path} cannot be loaded ({error}).", "Copy the hash model folder again.") from error
    tokenizer.enable_truncation(max_tokens)
    if not tokenizer.padding or tokenizer.padding["length"] != max_tokens:
        tokenizer.enable_padding()  # up to the longest text of a batch; some models read padding to the full length
    return tokenizer


def known_words(tokenizer: Any, text: str, is_listed: Callable[[str], bool] | None = None) -> KnownWords:
    """What of a text a tokenizer has tokens for. With `is_listed`, a word of letters that the tokenizer splits is known
    only if it is listed, in lower case and without accents, or is the plural of one that is known.

    CLIP's byte-pair encoding has tokens for every text, so nothing is unknown to it.
    """
    unknown_token = getattr(tokenizer.model, "unk_token", "<unk>")  # a Unigram model does not name its own
    unknown_id = tokenizer.token_to_id(unknown_token) if unknown_token else None
    encoding = tokenizer.encode(text, add_special_tokens=False)
    known, unknown = [], []
    rows = zip(encoding.word_ids, encoding.ids, encoding.tokens, encoding.offsets, encoding.attention_mask, strict=True)
    for _, pieces in groupby(rows, key=itemgetter(0)):
        whole = [*pieces]
        word = "".join(token.removeprefix("##") for _, _, token, _, _ in whole)
        singular = word.removesuffix("s")
        is_split = len(whole) > 1 and word.isalpha() and not tokenizer.token_to_id(singular)
        if is_listed and is_split and not is_listed(word) and not is_listed(singular):
            unknown.append(text[whole[0][3][0] : whole[-1][3][1]])
            continue
        for _, id_, token, (start, end), is_text in whole:
            if id_ == unknown_id:
                unknown.append(text[start:end].strip())
            elif is_text and token != "▁":  # in a Unigram model it stands for the space before a word
                known.append(token)
    unknown = [*dict.fromkeys(filter(None, unknown))]
    # Beside unknown words, a comma says nothing.
    any_known = any(any(map(str.isalnum, token)) for token in known) if unknown else bool(known)
    return KnownWords(any_known, tuple(unknown))


def reads_whole(tokenizer: Any, word: str) -> bool:
    """Whether a tokenizer has a single token for a word, and knows it."""
    encoding = tokenizer.encode(word, add_special_tokens=False)
    return sum(encoding.attention_mask) == 1 and known_words(tokenizer, word).any_known
