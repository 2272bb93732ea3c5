"""A trained student as a hash-model folder: ONNX graphs, tokenizer, description and card.

student.py adds the weights with which training can go on.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from hashcli.distillation.card import ModelCard
from hashcli.distillation.features import Features
from hashcli.distillation.onnx_graphs import append_head, export_bag, export_image_encoder
from hashcli.distillation.towers import ExportedTower, HashModelTower, ImageTower, TorchImageTower
from hashcli.distillation.trainer import HashHeads
from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.description import Description, ImageEncoder, TextEncoder
from hashcli.hashmodel.model import HashModel

TOLERANCE = 1e-4  # between the outputs of ONNX and of torch
BITS_EQUAL = 0.999
MAX_WORDS = 100_000  # of a text that is read as a bag of words: more than any text has
UNKNOWN = "[UNK]"


@dataclass(frozen=True)
class StudentEncoders:
    """All parts of a student. Without a text tower, texts are bags of the vocabulary's words."""

    heads: HashHeads
    image_tower: ImageTower
    text_tower: HashModelTower | None
    vocabulary: Sequence[str]


def export_hash_model(folder: Path, student: StudentEncoders, card: ModelCard) -> HashModel:
    """Write the hash-model folder, and open it."""
    folder.mkdir(parents=True, exist_ok=True)
    tower = student.image_tower
    _export_image(folder / "image.onnx", tower, student.heads)
    max_tokens = _export_text(folder, student)
    (folder / "README.md").write_text(card.text, encoding="utf-8")
    Description(
        name=card.name,
        bits=student.heads.image.bits,
        method=card.method,
        teacher=card.teacher,
        licence="that of the training data and of the towers",
        image=ImageEncoder("image.onnx", tower.size, tower.resize, tower.interpolation),
        text=TextEncoder("text.onnx", "tokenizer.json", max_tokens),
        metrics=card.metrics,
    ).write(folder)
    return HashModel(folder, verify=True)


def check_export(model: HashModel, heads: HashHeads, features: Features, texts: Sequence[str]) -> None:
    """Encode photos from their files and texts with the exported model, and compare with the trained heads.

    `features` are of the photos and of at least the given texts. Raises HashcliError if the outputs differ.
    """
    with torch.no_grad():
        trained = {kind: outputs.cpu().numpy() for kind, outputs in heads.encode(features).items()}
    exported = [output for _, output in model.encode_image_files(map(str, features.photos))]
    check_outputs(np.stack([one for one in exported if isinstance(one, np.ndarray)]), trained["image"], "image")
    check_outputs(model.encode_texts(texts), trained["text"][: len(texts)], "text")


def check_outputs(exported: np.ndarray, trained: np.ndarray, what: str) -> None:
    """Compare outputs [n, bits] of the exported and of the trained encoder. Raises HashcliError if they differ."""
    difference = float(np.abs(exported - trained).max())
    bits = np.bitwise_count(pack(exported) ^ pack(trained)).sum() / trained.size
    close = difference <= TOLERANCE * max(1.0, float(np.abs(trained).max()))  # false if either is not a number
    if not close or bits > 1 - BITS_EQUAL:
        raise HashcliError(
            f"The exported {what} encoder differs from the trained one: outputs by up to {difference:.2g}, "
            f"{bits:.2%} of the bits.",
            "This should not happen; the run folder holds the trained weights.",
        )


def _export_image(path: Path, tower: ImageTower, heads: HashHeads) -> None:
    if isinstance(tower, TorchImageTower):
        export_image_encoder(tower, heads.image, path)
    elif isinstance(tower, HashModelTower):
        append_head(onnx.load(tower.model.folder / tower.model.description.image.file), heads.image, path)
    elif isinstance(tower, ExportedTower):
        append_head(tower.graph, heads.image, path)
    else:
        raise TypeError(f"{tower} cannot be exported")


def _export_text(folder: Path, student: StudentEncoders) -> int:
    """Write text.onnx and tokenizer.json. Returns how many tokens of a text are read."""
    path = folder / "text.onnx"
    if student.text_tower:
        source = student.text_tower.model
        encoder = source.description.text
        append_head(onnx.load(source.folder / encoder.file), student.heads.text, path)
        shutil.copy(source.folder / encoder.tokenizer, folder / "tokenizer.json")
        return encoder.max_tokens
    _bag_tokenizer(student.vocabulary).save(str(folder / "tokenizer.json"))
    export_bag(student.heads.text, len(student.vocabulary), path)
    return MAX_WORDS


def _bag_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """The word rule of `datasets.vocabulary` for the tokenizers library.

    The library's \\w matches more, and its lower case has no final sigma.
    """
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([UNKNOWN, *vocabulary])}, unk_token=UNKNOWN)
    )
    final_sigma = Regex(r"(?<=\p{Cased}\p{Case_Ignorable}{0,9})Σ(?!\p{Case_Ignorable}*\p{Cased})")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(final_sigma, "ς"), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\p{L}\p{N}]+"), behavior="removed", invert=True)
    return tokenizer
