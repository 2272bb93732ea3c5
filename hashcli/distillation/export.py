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
from hashcli.distillation.export_check import check_outputs
from hashcli.distillation.features import Features
from hashcli.distillation.onnx_graphs import append_head, export_bag, export_head, export_image_encoder
from hashcli.distillation.text_export import export_text_encoder
from hashcli.distillation.text_tokenizer import FINAL_SIGMA
from hashcli.distillation.token_bag import bag_of
from hashcli.distillation.towers import (
    GraphTower,
    HashModelTower,
    ImageTower,
    OpenClipTextTower,
    TextTower,
    TorchImageTower,
)
from hashcli.distillation.trainer import HashHeads
from hashcli.hashmodel.description import Description, ImageEncoder, TextEncoder, external_data
from hashcli.hashmodel.description import read as read_description
from hashcli.hashmodel.model import HashModel

MAX_WORDS = 100_000  # of a text that is read as a bag of words: more than any text has
UNKNOWN = "[UNK]"
WORD_LIST = "word_list.txt"


@dataclass(frozen=True)
class StudentEncoders:
    """All parts of a student, or of a teacher with hash layers.

    Without a text tower, texts are bags of the vocabulary's words; with one, those stand beside its features. On the
    example texts it is tried whether a text tower of open_clip keeps its codes with int8 weights. With `text_of`, a
    hash-model folder, the text half is the one that the folder holds, and the text tower and its hash head are not
    written again.
    """

    heads: HashHeads
    image_tower: ImageTower
    text_tower: TextTower | None
    vocabulary: Sequence[str]
    examples: Sequence[str] = ()
    text_of: Path | None = None


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
        word_list=_copy_word_list(student, folder),
    ).write(folder)
    return HashModel(folder, verify=True)


def export_heads(folder: Path, heads: HashHeads, vocabulary: Sequence[str]) -> None:
    """Write image.onnx and text.onnx, from `features` [n, width] as the heads see them to `output` [n, bits]; and
    words.txt, the words of the bag, if there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    export_head(heads.image, folder / "image.onnx")
    export_head(heads.text, folder / "text.onnx")
    if vocabulary:
        (folder / "words.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def check_export(
    model: HashModel, heads: HashHeads, features: Features, texts: Sequence[str], *, int8_text: bool = False
) -> None:
    """Encode photos from their files and texts with the exported model, and compare with the trained heads.

    `features` are of the photos and of at least the given texts. Of a text encoder that may have int8 weights, only the
    bits are compared. Raises HashcliError if the outputs differ.
    """
    with torch.no_grad():
        trained = {kind: outputs.cpu().numpy() for kind, outputs in heads.encode(features).items()}
    exported = [output for _, output in model.encode_image_files(map(str, features.photos))]
    check_outputs(np.stack([one for one in exported if isinstance(one, np.ndarray)]), trained["image"], "image")
    check_outputs(model.encode_texts(texts), trained["text"][: len(texts)], "text", int8=int8_text)


def _export_image(path: Path, tower: ImageTower, heads: HashHeads) -> None:
    if isinstance(tower, TorchImageTower):
        export_image_encoder(tower, heads.image, path)
    elif isinstance(tower, HashModelTower):
        append_head(onnx.load(tower.model.folder / tower.model.description.image.file), heads.image, path)
    elif isinstance(tower, GraphTower):
        append_head(tower.graph, heads.image, path)
    else:
        raise TypeError(f"{tower} cannot be exported")


def _export_text(folder: Path, student: StudentEncoders) -> int:
    """Write text.onnx and tokenizer.json. Returns how many tokens of a text are read."""
    path = folder / "text.onnx"
    if student.text_of:
        return _copy_text(student.text_of, folder)
    bag = bag_of(student.text_tower, student.vocabulary)
    if isinstance(student.text_tower, OpenClipTextTower):
        return export_text_encoder(student.text_tower, student.heads.text, folder, student.examples, bag).max_tokens
    if isinstance(student.text_tower, HashModelTower):
        source = student.text_tower.model
        encoder = source.description.text
        append_head(onnx.load(source.folder / encoder.file), student.heads.text, path, bag)
        shutil.copy(source.folder / encoder.tokenizer, folder / "tokenizer.json")
        return encoder.max_tokens
    _bag_tokenizer(student.vocabulary).save(str(folder / "tokenizer.json"))
    export_bag(student.heads.text, len(student.vocabulary), path)
    return MAX_WORDS


def _copy_word_list(student: StudentEncoders, folder: Path) -> str | None:
    """Copy the words known to the hash model whose text half the student uses, if it lists any."""
    source = student.text_of
    if isinstance(student.text_tower, HashModelTower):
        source = student.text_tower.model.folder
    listed = read_description(source).word_list if source else None
    if not source or not listed:
        return None
    shutil.copy(source / listed, folder / WORD_LIST)
    return WORD_LIST


def _copy_text(source: Path, folder: Path) -> int:
    encoder = read_description(source).text
    weights = external_data(folder / "text.onnx")
    weights.unlink(missing_ok=True)
    shutil.copy(source / encoder.file, folder / "text.onnx")
    shutil.copy(source / encoder.tokenizer, folder / "tokenizer.json")
    if external_data(source / encoder.file).is_file():
        shutil.copy(external_data(source / encoder.file), weights)
    return encoder.max_tokens


def _bag_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """The word rule of `datasets.vocabulary` for the tokenizers library.

    The library's \\w matches more, and its lower case has no final sigma.
    """
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([UNKNOWN, *vocabulary])}, unk_token=UNKNOWN)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(FINAL_SIGMA, "ς"), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\p{L}\p{N}]+"), behavior="removed", invert=True)
    return tokenizer
