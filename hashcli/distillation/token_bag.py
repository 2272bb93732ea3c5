"""A bag of words beside a text tower: both read the same tokens, so that one graph and one tokenizer hold them.

A word is in a text where the text's tokens have the word's tokens, one after the other. That is nearly the bag of
datasets.vocabulary, and exactly what the exported graph finds: a word that begins or ends another may be found in it,
words that the tokenizer takes to be the same are one, and of a long text only the tokens that the tower reads count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from hashcli.distillation.text_export import text_tokenizer
from hashcli.distillation.towers import HashModelTower, OpenClipTextTower, TextTower
from hashcli.hashmodel.tokenizer import load_tokenizer

MOST_TOKENS = 8  # of a word
TOWER_NORM = 3.0  # of the tower's features beside a bag, whose norm is the square root of the number of words


@dataclass(frozen=True)
class TokenBag:
    """Words and the token ids of each. `tokenizer` reads a text as the exported model does."""

    words: list[str]
    tokens: list[tuple[int, ...]]
    tokenizer: Any

    @classmethod
    def of(cls, words: Sequence[str], tower: HashModelTower | OpenClipTextTower) -> "TokenBag":
        """The words that the tower's tokenizer can tell apart, in their order.

        Left out are words with an unknown token, those of more than MOST_TOKENS, and those with the tokens of an
        earlier one. Raises HashcliError for a tokenizer that a hash model cannot hold.
        """
        tokenizer = _tokenizer(tower)
        before = len(tokenizer.encode("a", add_special_tokens=False).ids)
        unknown = {tokenizer.token_to_id(token) for token in ("[UNK]", "<unk>")} - {None}
        kept: dict[tuple[int, ...], str] = {}
        for word in words:
            # After another word: some tokenizers read the first word of a text otherwise.
            encoding = tokenizer.encode(f"a {word}", add_special_tokens=False)
            ids = [id_ for id_, is_text in zip(encoding.ids, encoding.attention_mask, strict=True) if is_text]
            tokens = tuple(ids[before:])
            if 0 < len(tokens) <= MOST_TOKENS and not unknown.intersection(tokens):
                kept.setdefault(tokens, word)
        return cls(list(kept.values()), list(kept), tokenizer)

    def bags(self, texts: Sequence[str]) -> np.ndarray:
        """Which words each text has, uint8 [texts, words] of 0 and 1."""
        by_first: dict[int, list[tuple[tuple[int, ...], int]]] = {}
        for column, tokens in enumerate(self.tokens):
            by_first.setdefault(tokens[0], []).append((tokens, column))
        bags = np.zeros((len(texts), len(self.words)), np.uint8)
        for row, text in enumerate(texts):
            encoding = self.tokenizer.encode(text)
            ids = [id_ for id_, is_text in zip(encoding.ids, encoding.attention_mask, strict=True) if is_text]
            for place, id_ in enumerate(ids):
                for tokens, column in by_first.get(id_, ()):
                    if tuple(ids[place : place + len(tokens)]) == tokens:
                        bags[row, column] = 1
        return bags

    def joined(self, features: Tensor, texts: Sequence[str]) -> Tensor:
        """`join` of the tower's features of the texts, and their bags."""
        return join(features, torch.from_numpy(self.bags(texts)).float())

    def nodes(self, target: str, new: str) -> tuple[list[Any], list[Any]]:
        """ONNX nodes and weights that take `input_ids` and `attention_mask`, int64 [n, tokens], to `target`, float32
        [n, words]. Names in between begin with `new`.
        """
        longest = max(map(len, self.tokens))
        weights = [
            _integers(f"{new}nothing", np.array(-1)),
            _integers(f"{new}padding", np.array(0)),
            _integers(f"{new}pads", np.array([0, 0, 0, longest])),
            _integers(f"{new}axis", np.array([1])),
            _integers(f"{new}last", np.array([2])),
        ]
        nodes = [
            helper.make_node("Equal", ["attention_mask", f"{new}padding"], [f"{new}is_padding"]),
            helper.make_node("Where", [f"{new}is_padding", f"{new}nothing", "input_ids"], [f"{new}ids"]),
            helper.make_node("Pad", [f"{new}ids", f"{new}pads", f"{new}nothing"], [f"{new}padded"]),
        ]
        for shift in range(longest):  # the token that comes `shift` later, at each place: [n, tokens + 1, 1]
            start, end = f"{new}start{shift}", f"{new}end{shift}"
            to_end = shift + 1 - longest
            weights.append(_integers(start, np.array([shift])))
            weights.append(_integers(end, np.array([to_end if to_end else np.iinfo(np.int64).max])))
            later = f"{new}later{shift}"
            nodes.append(helper.make_node("Slice", [f"{new}padded", start, end, f"{new}axis"], [f"{later}_ids"]))
            nodes.append(helper.make_node("Unsqueeze", [f"{later}_ids", f"{new}last"], [later]))
        found, columns = list[str](), list[int]()
        for length in sorted(set(map(len, self.tokens))):
            chosen = [column for column, tokens in enumerate(self.tokens) if len(tokens) == length]
            more_nodes, more_weights, name = self._found(chosen, length, new)
            nodes, weights, found, columns = (
                nodes + more_nodes,
                weights + more_weights,
                [*found, name],
                columns + chosen,
            )
        weights.append(_integers(f"{new}order", np.argsort(columns)))
        nodes.append(helper.make_node("Concat", found, [f"{new}found"], axis=1))
        nodes.append(helper.make_node("Gather", [f"{new}found", f"{new}order"], [target], axis=1))
        return nodes, weights

    def joined_nodes(self, features: str, target: str, new: str) -> tuple[list[Any], list[Any]]:
        """Nodes and weights of what `join` gives, from `features` of unit length."""
        nodes, weights = self.nodes(f"{new}bag", new)
        weights.append(numpy_helper.from_array(np.array(TOWER_NORM, np.float32), f"{new}norm"))
        nodes.append(helper.make_node("Mul", [features, f"{new}norm"], [f"{new}tower"]))
        nodes.append(helper.make_node("Concat", [f"{new}tower", f"{new}bag"], [target], axis=1))
        return nodes, weights

    def _found(self, columns: list[int], length: int, new: str) -> tuple[list[Any], list[Any], str]:
        """Nodes, weights and the name of what they give: which of the words of this many tokens a text has."""
        name = f"{new}length{length}"
        tokens = np.array([self.tokens[column] for column in columns])
        nodes, weights, here = [], [], ""
        for shift in range(length):
            weights.append(_integers(f"{name}_token{shift}", tokens[:, shift]))
            same = f"{name}_same{shift}"
            nodes.append(helper.make_node("Equal", [f"{new}later{shift}", f"{name}_token{shift}"], [same]))
            if here:
                nodes.append(helper.make_node("And", [here, same], [f"{name}_so_far{shift}"]))
            here = f"{name}_so_far{shift}" if here else same
        nodes.append(helper.make_node("Cast", [here], [f"{name}_at"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("ReduceMax", [f"{name}_at"], [name], axes=[1], keepdims=0))
        return nodes, weights, name


def bag_of(tower: TextTower | None, words: Sequence[str]) -> TokenBag | None:
    """The bag of words beside a tower; None where there is none, or where the tower has no tokenizer."""
    return TokenBag.of(words, tower) if words and isinstance(tower, HashModelTower | OpenClipTextTower) else None


def join(features: Tensor, bags: Tensor) -> Tensor:
    """What a student sees of a text: its tower's features [n, width], of length TOWER_NORM, and its bag [n, words]."""
    return torch.cat([TOWER_NORM * functional.normalize(features), bags], dim=1)


def _integers(name: str, values: np.ndarray) -> Any:
    return numpy_helper.from_array(values.astype(np.int64), name)


def _tokenizer(tower: HashModelTower | OpenClipTextTower) -> Any:
    if isinstance(tower, OpenClipTextTower):
        return text_tokenizer(tower)
    encoder = tower.model.description.text
    return load_tokenizer(tower.model.folder / encoder.tokenizer, encoder.max_tokens)
