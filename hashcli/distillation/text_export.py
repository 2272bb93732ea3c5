"""The text half of an open_clip model in a hash model: text.onnx and tokenizer.json."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.export_check import INT8_BITS_EQUAL, bits_equal, check_outputs
from hashcli.distillation.heads import OutputLayer
from hashcli.distillation.onnx_graphs import trace, with_output_layer
from hashcli.distillation.stored_graphs import optimise, save_graph, with_int8_weights
from hashcli.distillation.text_tokenizer import build_tokenizer, pad_id_of, pads_left
from hashcli.distillation.towers import TEXT_BATCH, OpenClipTextTower
from hashcli.errors import HashcliError
from hashcli.hashmodel.description import external_data
from hashcli.hashmodel.prefetch import batched

if TYPE_CHECKING:
    from hashcli.distillation.token_bag import TokenBag

MAPPED = 1 << 24  # bytes of weights that go to a file of their own: it is mapped, and loads in less than half the time


@dataclass(frozen=True)
class StoredText:
    """How a text encoder was stored: how many tokens of a text it reads, and whether its weights are int8.

    `bits_equal` is the share of the example texts' bits that int8 weights leave as they are.
    """

    max_tokens: int
    int8: bool
    bits_equal: float


def export_text_encoder(
    tower: OpenClipTextTower, layer: OutputLayer, folder: Path, examples: Sequence[str], bag: "TokenBag | None" = None
) -> StoredText:
    """Write text.onnx and tokenizer.json: token ids to features of unit length, joined with a bag of words if one is
    given, and through the output layer.

    The weights are int8 where at least INT8_BITS_EQUAL of the bits of the example texts stay the same, else float32, as
    they are without examples. Raises HashcliError for a text encoder or a tokenizer that a hash model cannot hold, and
    if the outputs for the examples differ from torch's.
    """
    encoder = text_encoder(tower)
    tokenizer = build_tokenizer(tower.tokenizer, encoder.context_length, full_length=encoder.full_length)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    traced = optimise(_traced(encoder))
    exact = with_output_layer(traced, layer, bag)
    if not examples:
        save_graph(exact, folder / "text.onnx", MAPPED)
        return StoredText(encoder.context_length, int8=False, bits_equal=1.0)
    rounded = with_output_layer(with_int8_weights(traced), layer, bag)
    with torch.inference_mode():
        features = functional.normalize(torch.from_numpy(tower.encode_texts(examples)))
        if bag:
            features = bag.joined(features, examples)
        trained = layer(features.to(next(layer.parameters()).device)).cpu().numpy()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # onnxruntime reads large weights from files alone
        exact_path, rounded_path = (Path(scratch) / name / "text.onnx" for name in ("exact", "rounded"))
        outputs = {}
        for path, graph in ((exact_path, exact), (rounded_path, rounded)):
            path.parent.mkdir()
            save_graph(graph, path, MAPPED)
            outputs[path] = _run(path, tokenizer, examples)
        check_outputs(outputs[exact_path], trained, "text")
        equal = bits_equal(outputs[rounded_path], outputs[exact_path])
        chosen = rounded_path if bits_equal(outputs[rounded_path], trained) >= INT8_BITS_EQUAL else exact_path
        external_data(folder / "text.onnx").unlink(missing_ok=True)
        for file in chosen.parent.iterdir():
            file.replace(folder / file.name)
    return StoredText(encoder.context_length, chosen == rounded_path, equal)


class TextEncoder(nn.Module):
    """A text tower of open_clip from token ids and their mask, int64 [n, tokens], to features [n, width].

    With `full_length` it must be given texts that are padded to `context_length` tokens, as it was trained: it reads
    the padding.
    """

    def __init__(self, context: "_Context") -> None:
        super().__init__()
        self.context_length, self.full_length = context.length, context.full_length
        self.pad_id, self.dropped_id = context.pad_id, context.dropped_id

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        ids = input_ids.masked_fill(attention_mask == 0, self.pad_id)
        return self.encode(ids if self.dropped_id is None else ids.masked_fill(ids == self.dropped_id, 0))

    def encode(self, ids: Tensor) -> Tensor:
        raise NotImplementedError


class _Attention(nn.Module):
    """torch's own multi-head attention in operators that can be traced for any number of tokens."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.head_width = attention.num_heads, attention.head_dim
        self.weight, self.bias, self.out = attention.in_proj_weight, attention.in_proj_bias, attention.out_proj

    def forward(self, x: Tensor, *_: Tensor, attn_mask: Tensor | None = None, **__: Any) -> tuple[Tensor, None]:
        """x [n, tokens, width] attends to itself; the mask is added to the scores [n, heads, tokens, tokens]."""
        parts = functional.linear(x, self.weight, self.bias).unflatten(2, (3, self.heads, self.head_width))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) * self.head_width**-0.5
        if attn_mask is not None:
            scores = scores + attn_mask
        return self.out((scores.softmax(3) @ value).transpose(1, 2).flatten(2)), None


class _OwnTransformer(TextEncoder):
    """open_clip's own transformer, of its classes CLIP and CustomTextCLIP, for any number of tokens.

    `parts` is the model or its text tower; `pool` is how it pools, and the id of the token at a text's end.
    """

    def __init__(self, parts: Any, pool: tuple[str, int], context: "_Context") -> None:
        super().__init__(context)
        self.transformer = copy.deepcopy(parts.transformer)
        for block in self.transformer.resblocks:
            block.attn = _Attention(block.attn)
        self.token_embedding, self.positional_embedding = parts.token_embedding, parts.positional_embedding
        self.ln_final, self.text_projection = parts.ln_final, parts.text_projection
        self.pool_type, self.eos_id = pool
        self.causal = parts.attn_mask is not None

    def encode(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer(x, attn_mask=self._mask(ids)))
        pooled = self._pool(x, ids)
        if self.text_projection is None:
            return pooled
        if isinstance(self.text_projection, nn.Linear):
            return cast(Tensor, self.text_projection(pooled))
        return cast(Tensor, pooled @ self.text_projection)

    def _mask(self, ids: Tensor) -> Tensor | None:
        """Minus infinity where a token must not see another, since that follows; None if each sees all."""
        if not self.causal:
            return None
        place = torch.arange(ids.shape[1], device=ids.device)
        return torch.where(place[None] > place[:, None], -torch.inf, 0.0)

    def _pool(self, x: Tensor, ids: Tensor) -> Tensor:
        if self.pool_type in ("first", "last"):
            return x[:, 0 if self.pool_type == "first" else -1]
        place = ids.argmax(-1) if self.pool_type == "argmax" else (ids == self.eos_id).int().argmax(-1)
        return x.gather(1, place[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]


class _HuggingFace(TextEncoder):
    """A transformer of the library transformers, with open_clip's pooling and projection."""

    def __init__(self, text: Any, context: "_Context") -> None:
        super().__init__(context)
        self.text = text

    def encode(self, ids: Tensor) -> Tensor:
        features = self.text(ids)
        return cast(Tensor, features[0] if isinstance(features, tuple) else features)


@dataclass(frozen=True)
class _Context:
    """How a text is laid out for a transformer. `dropped_id` is a token that open_clip replaces by 0."""

    length: int
    pad_id: int
    full_length: bool
    dropped_id: int | None


def text_encoder(tower: OpenClipTextTower) -> TextEncoder:
    """The text half of an open_clip model as a module that can be traced. Raises HashcliError where there is none."""
    from open_clip.hf_model import HFTextEncoder

    tokenizer = tower.tokenizer
    text = getattr(tower.model, "text", tower.model)
    pad_id, length = pad_id_of(tokenizer), int(tokenizer.context_length)
    dropped_id = tokenizer.tokenizer.sep_token_id if getattr(tokenizer, "strip_sep_token", False) else None
    if isinstance(text, HFTextEncoder):
        full_length = pads_left(tokenizer) or pad_id != text.config.pad_token_id
        return _HuggingFace(text, _Context(length, pad_id, full_length, dropped_id)).eval()
    if not _can_be_traced(text):
        raise HashcliError(
            f"The teacher {tower.key} reads texts with a {type(text).__name__}, which hashcli cannot put into a hash "
            "model.",
            "Choose a bag of words as the text encoder, or another teacher.",
        )
    pool_type = text.pool_type if hasattr(text, "pool_type") else text.text_pool_type
    eos_id = text.eos_id if hasattr(text, "eos_id") else text.text_eos_id
    full_length = text.attn_mask is None or pool_type == "last" or pads_left(tokenizer)
    return _OwnTransformer(text, (pool_type, eos_id), _Context(length, pad_id, full_length, dropped_id)).eval()


def check_text_tower(tower: OpenClipTextTower) -> None:
    """Raise HashcliError for a text encoder or a tokenizer that a hash model cannot hold."""
    text_tokenizer(tower)


def text_tokenizer(tower: OpenClipTextTower) -> Any:
    """The tokenizer as a hash model has it. Raises HashcliError for one that it cannot hold."""
    encoder = text_encoder(tower)
    return build_tokenizer(tower.tokenizer, encoder.context_length, full_length=encoder.full_length)


def _can_be_traced(text: nn.Module) -> bool:
    """Whether it is open_clip's CLIP, or its TextTransformer, without CoCa's class token and with torch's attention."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    if not isinstance(text, CLIP | TextTransformer):
        return False
    unlike_clip = getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False)
    blocks = text.transformer.resblocks
    return not unlike_clip and all(type(block.attn) is nn.MultiheadAttention for block in blocks)


def _traced(encoder: TextEncoder) -> onnx.ModelProto:
    """The graph from `input_ids` and `attention_mask` to `output`, the features as the encoder gives them."""
    module = copy.deepcopy(encoder)
    if isinstance(module, _HuggingFace) and hasattr(module.text.transformer, "set_attn_implementation"):
        module.text.transformer.set_attn_implementation("eager")  # the only one that can be traced
    ids = torch.ones(2, encoder.context_length if encoder.full_length else 7, dtype=torch.int64)
    sizes = {0: "n", 1: "tokens"}
    return trace(module, {"input_ids": (ids, sizes), "attention_mask": (torch.ones_like(ids), sizes)})


def _run(path: Path, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """float32 [n, bits] from a graph as a hash model runs it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = []
    for batch in batched(texts, TEXT_BATCH):
        rows = tokenizer.encode_batch(list(batch))
        inputs = {
            "input_ids": np.array([row.ids for row in rows], np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
        }
        outputs.append(session.run(["output"], inputs)[0])
    return np.concatenate(outputs)
