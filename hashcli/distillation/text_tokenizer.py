"""open_clip's tokenizers as a file of the tokenizers library, with the same ids.

open_clip cleans a text in Python before it splits it; here the same rules stand in the file as normalisers. Texts get
other ids where those rules cannot be written so:
    - text in a wrong encoding ("cafÃ©"), which ftfy repairs;
    - HTML character references other than those of _ENTITIES and _OLD_ENTITIES;
    - C1 control characters, which ftfy takes for Windows-1252;
    - a special token of the tokenizer that the text itself contains, such as "!<start_of_text>" or "a </s> b": white
      space and punctuation around it are read otherwise;
    - letters that Python's Unicode tables know and those of the tokenizers library do not, or the other way round.
open_clip may also drop random words from a text that is too long, as in training (`reduction_mask`): here the end is
cut off.
"""

import html
import json
import string
from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from hashcli.errors import HashcliError

FINAL_SIGMA = Regex(r"(?<=\p{Cased}\p{Case_Ignorable}{0,9})Σ(?!\p{Case_Ignorable}*\p{Cased})")
_OLD_ENTITIES = ("quot", "QUOT", "nbsp", "lt", "LT", "gt", "GT")  # HTML knows them without their semicolon, too
_ENTITIES = ("apos", "hellip", "ndash", "mdash", "lsquo", "rsquo", "ldquo", "rdquo", "#39")


def build_tokenizer(tokenizer: Any, context_length: int, *, full_length: bool) -> Tokenizer:
    """An open_clip tokenizer (SimpleTokenizer, HFTokenizer or SigLipTokenizer) for a text tower.

    A text is cut to `context_length` tokens. With `full_length` it is padded to as many, else to the longest text of a
    batch. Raises HashcliError for a tokenizer that cannot be written to a file.
    """
    pad_token = None
    if hasattr(tokenizer, "bpe_ranks"):
        built, pad_id, pad_side = _byte_pairs(tokenizer), 0, "right"
    elif hasattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer"):
        if getattr(tokenizer, "tokenizer_mode", ""):
            raise HashcliError(
                f"The teacher's tokenizer places its tokens in the mode {tokenizer.tokenizer_mode!r}, "
                "which hash models cannot.",
                "Choose another text encoder.",
            )
        inner = tokenizer.tokenizer
        built, pad_id, pad_side = _huggingface(tokenizer), inner.pad_token_id, inner.padding_side
        pad_token = inner.pad_token
    else:
        raise HashcliError(
            f"The teacher's tokenizer, a {type(tokenizer).__name__}, has no form that a hash model can hold.",
            "Choose another text encoder.",
        )
    built.enable_truncation(context_length)
    built.enable_padding(
        direction=pad_side,
        pad_id=pad_id,
        pad_token=pad_token or built.id_to_token(pad_id),
        length=context_length if full_length else None,
    )
    return built


def pads_left(tokenizer: Any) -> bool:
    return getattr(getattr(tokenizer, "tokenizer", None), "padding_side", "right") == "left"


def pad_id_of(tokenizer: Any) -> int:
    """The id that fills an open_clip tokenizer's rows."""
    inner = getattr(tokenizer, "tokenizer", None)
    return int(inner.pad_token_id) if inner is not None else 0


def _byte_pairs(tokenizer: Any) -> Tokenizer:
    """CLIP's byte-pair encoding, with a mark at the end of a word."""
    start, end = (tokenizer.decoder[id_] for id_ in tokenizer.all_special_ids[:2])
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    built = Tokenizer(models.BPE(tokenizer.encoder, merges, end_of_word_suffix="</w>"))
    built.normalizer = normalizers.Sequence(_cleaning(tokenizer.clean_fn))
    special = [tokenizer.decoder[id_] for id_ in tokenizer.all_special_ids]
    words = rf"(?i:{'|'.join(special)}|'s|'t|'re|'ve|'m|'ll|'d)|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+"
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    found = [AddedToken(token, normalized=True) for token in special if tokenizer.clean_fn(token) == token]
    built.add_special_tokens(found)
    built.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, tokenizer.encoder[token]) for token in (start, end)]
    )
    return built


def _huggingface(tokenizer: Any) -> Tokenizer:
    """A fast tokenizer of transformers, which cleans a text first as open_clip does."""
    clean = getattr(tokenizer, "clean_fn", None) or _open_clip("_clean_canonicalize")  # SigLIP's has no choice
    content = json.loads(tokenizer.tokenizer.backend_tokenizer.to_str())
    # Such a token is found before the text is cleaned, which for open_clip is after: then it is not there any more.
    content["added_tokens"] = [one for one in content["added_tokens"] if clean(one["content"]) == one["content"]]
    built = Tokenizer.from_str(json.dumps(content))
    own = [built.normalizer] if built.normalizer else []
    built.normalizer = normalizers.Sequence([*_cleaning(clean), *own])
    return built


def _cleaning(clean: Callable[[str], str]) -> list[Any]:
    """One of open_clip's functions that clean a text, as normalisers."""
    white = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    lower = [normalizers.Replace(FINAL_SIGMA, "ς"), normalizers.Lowercase()]
    if clean is _open_clip("_clean_lower"):
        return [*_repairs(), *white, *lower]
    if clean is _open_clip("_clean_whitespace"):
        return [*_repairs(), *white]
    if clean is _open_clip("_clean_canonicalize"):
        marks = Regex("[" + "".join(f"\\x{ord(mark):02X}" for mark in string.punctuation) + "]")
        return [*_repairs(), normalizers.Replace("_", " "), normalizers.Replace(marks, ""), *lower, *white]
    raise HashcliError(
        f"The teacher's tokenizer cleans texts by {clean.__name__}, which hashcli does not know.",
        "Choose another text encoder.",
    )


def _open_clip(name: str) -> Callable[[str], str]:
    from open_clip import tokenizer

    function: Callable[[str], str] = getattr(tokenizer, name)
    return function


def _repairs() -> list[Any]:
    """What of ftfy.fix_text and of html.unescape can be said by replacing; open_clip applies both to every text."""
    from ftfy import chardata

    entities = [("&(?:amp|AMP);?", "&")] * 2  # twice, as open_clip does: &amp;lt; is a <
    entities += [(f"&{name};?", html.unescape(f"&{name};")) for name in _OLD_ENTITIES]
    entities += [(f"&{name};", html.unescape(f"&{name};")) for name in _ENTITIES]
    patterns = [
        *entities,
        *((chr(code), wanted) for code, wanted in {**chardata.LIGATURES, **chardata.WIDTH_MAP}.items()),
        (chardata.SINGLE_QUOTE_RE.pattern, "'"),
        (chardata.DOUBLE_QUOTE_RE.pattern, '"'),
        (r"\r\n|[\r\x{2028}\x{2029}\x{0085}]", "\n"),
        (r"\x1B\[[\d;]*[a-zA-Z]", ""),  # colours of a terminal
        ("[" + "".join(f"\\x{{{code:04X}}}" for code in chardata.CONTROL_CHARS) + "]", ""),
    ]
    replacements: list[Any] = [
        normalizers.Replace(pattern if len(pattern) == 1 else Regex(pattern), wanted) for pattern, wanted in patterns
    ]
    return [*replacements, normalizers.NFC()]
