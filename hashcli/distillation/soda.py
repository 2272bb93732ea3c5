"""SODA: labels as a text modality, a teacher of images and label prompts, then a text student (arXiv 2510.09664).

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: the label prompt, the
two stages, "directly narrowing the modality gap", and the image's Hamming space as the student's prior knowledge.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.features import Features
from hashcli.distillation.losses import (
    balance,
    half_inner,
    modality_gap,
    negative_log_likelihood,
    quantisation,
    signs,
)
from hashcli.distillation.settings import Settings, choice, flag, number, template
from hashcli.distillation.towers import ImageTower
from hashcli.distillation.trainer import HashHeads, Method, Outputs, Trainer
from hashcli.errors import HashcliError

LABEL_INPUTS = ("prompt", "names", "mean", "classes")


@dataclass(frozen=True, kw_only=True)
class SodaSettings(Settings):
    """What SODA needs beside the shared settings. The defaults are ours: the paper's are not public."""

    prompt: str = template("a photo of {}.", "the sentence that labels become; {} stands for them")
    label_input: str = choice(
        "prompt",
        LABEL_INPUTS,
        "what the label network sees: one sentence of all labels, their names alone, the mean of a sentence for each "
        "label, or the classes as 0 and 1",
    )
    two_stages: bool = flag(True, "false: train image, label and text at once, the ablation of the stages")
    gap: float = number(1.0, 0, 1e6, "weight: an image's and its labels' outputs should be close")
    balance: float = number(0.01, 0, 1e6, "weight: each bit should be 1 for half of the items")
    instance: float = number(1.0, 0, 1e6, "weight: a text's outputs should be close to its image's code")
    relation: float = number(1.0, 0, 1e6, "weight: a text should be as similar to other images as its own image is")


def check_labels(settings: SodaSettings, dataset: ImageTextDataset, teacher: ImageTower) -> None:
    """Raises HashcliError for a dataset without labels."""
    if dataset.labels is None:
        raise HashcliError(
            "SODA turns labels into prompts, and this dataset has no labels.", "Choose the method ckdh or lcdh."
        )


def train_soda(trainer: Trainer[SodaSettings]) -> HashHeads:
    """Stage 1 maps images and label prompts into one Hamming space; stage 2 brings the texts into it.

    With `two_stages = false` all three are trained at once, the ablation of the stages; with `distil = false` both
    heads are trained on the labels alone, the ablation without a teacher.
    """
    heads = trainer.new_heads()
    if not trainer.settings.distil:
        trainer.train(
            "soda-without-teacher", heads.modules(), lambda rows: _label_loss(trainer, heads, rows), heads.encode
        )
        return heads

    labels = label_features(trainer)
    label_head = trainer.new_head(labels.shape[1])
    modules = nn.ModuleDict({"image": heads.image, "label": label_head})
    images = trainer.training_set.image
    if not trainer.settings.two_stages:
        modules["text"] = heads.text

        def joint_loss(rows: Tensor) -> dict[str, Tensor]:
            current_codes = signs(heads.image(images[rows]).detach())
            student = _student_loss(trainer, heads, current_codes, rows)
            teacher = _teacher_loss(trainer, heads, label_head, labels, rows)
            return {f"teacher {name}": term for name, term in teacher.items()} | student

        trainer.train("soda-joint", modules, joint_loss, heads.encode)
        return heads

    def encode_images(features: Features) -> Outputs:
        """The teacher's outputs for images. Its outputs for labels are not used after this stage."""
        return {"image": heads.image(features.image)}

    trainer.train(
        "soda-teacher", modules, lambda rows: _teacher_loss(trainer, heads, label_head, labels, rows), encode_images
    )
    trainer.evaluator.report("soda's teacher", encode_images)
    with torch.no_grad():
        codes = signs(heads.image(images))  # B^v [m, r]: fixed from here on
    trainer.train(
        "soda-student",
        nn.ModuleDict({"text": heads.text}),
        lambda rows: _student_loss(trainer, heads, codes[rows], rows),
        heads.encode,
    )
    return heads


def label_features(trainer: Trainer[SodaSettings]) -> Tensor:
    """What the label network sees of each row's labels: float32 [m, width], by `label_input`."""
    training_set, settings = trainer.training_set, trainer.settings
    assert training_set.labels is not None
    names = [name.replace("_", " ") for name in training_set.label_names]
    if settings.label_input == "classes":
        return training_set.labels
    if settings.label_input == "mean":
        each = training_set.prompts([settings.prompt.replace("{}", name) for name in names])
        return functional.normalize(training_set.labels @ each.to(training_set.labels.device))
    sentence = "{}" if settings.label_input == "names" else settings.prompt
    return training_set.prompts(label_prompts(training_set.labels.cpu(), names, sentence)).to(training_set.image.device)


def label_prompts(labels: Tensor, names: list[str], template: str) -> list[str]:
    """One sentence for each row of labels: "a photo of sky, sea and people."; for the template {}, the names alone."""
    sentences = []
    for row in labels:
        shown = [names[i] for i in row.nonzero().flatten().tolist()]
        listed = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
        sentences.append(" ".join(shown) if template == "{}" else template.replace("{}", listed))
    return sentences


def _teacher_loss(
    trainer: Trainer[SodaSettings], heads: HashHeads, label_head: nn.Module, labels: Tensor, rows: Tensor
) -> dict[str, Tensor]:
    """The terms for images and label prompts. Our reconstruction, but for the gap, which the abstract names."""
    settings, similar = trainer.settings, trainer.training_set.similarity(rows)
    image = torch.tanh(heads.image(trainer.training_set.image[rows]))
    label = torch.tanh(label_head(labels[rows]))
    return _likelihood(image, label, similar) | {
        "gap": settings.gap * modality_gap(image, label),
        "quantisation": settings.quantisation * quantisation(image, label),
        "balance": settings.balance * balance(image, label),
    }


def _student_loss(trainer: Trainer[SodaSettings], heads: HashHeads, image: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """The terms for texts, given their images' codes, -1 and +1 [batch, r]. Our reconstruction."""
    settings, similar = trainer.settings, trainer.training_set.similarity(rows)
    text = torch.tanh(heads.text(trainer.training_set.text[rows]))
    r = image.shape[1]
    return {
        "likelihood": negative_log_likelihood(half_inner(image, text), similar)
        + 0.5 * negative_log_likelihood(half_inner(text, text), similar),
        "instance": settings.instance * modality_gap(text, image),
        "relation": settings.relation * ((text @ image.T / r - image @ image.T / r) ** 2).mean(),
        "quantisation": settings.quantisation * quantisation(text),
    }


def _label_loss(trainer: Trainer[SodaSettings], heads: HashHeads, rows: Tensor) -> dict[str, Tensor]:
    """The terms without a teacher: images and texts learn from the labels alone."""
    training_set = trainer.training_set
    similar = training_set.similarity(rows)
    image, text = torch.tanh(heads.image(training_set.image[rows])), torch.tanh(heads.text(training_set.text[rows]))
    return _likelihood(image, text, similar) | {
        "quantisation": trainer.settings.quantisation * quantisation(image, text)
    }


def _likelihood(a: Tensor, b: Tensor, similar: Tensor) -> dict[str, Tensor]:
    """Of similarity between two modalities and, at half the weight, within each (DCMH has only the first)."""
    return {
        "likelihood": negative_log_likelihood(half_inner(a, b), similar)
        + 0.5 * negative_log_likelihood(half_inner(a, a), similar)
        + 0.5 * negative_log_likelihood(half_inner(b, b), similar)
    }


METHOD = Method(
    "labels as prompts, a teacher of images and labels, then a text student (arXiv 2510.09664)",
    SodaSettings,
    train_soda,
    check=check_labels,
    reconstruction=True,
)
