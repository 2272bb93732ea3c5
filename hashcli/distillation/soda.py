"""SODA: labels as a text modality, a teacher of CLIP's images and label prompts, then a student (arXiv 2510.09664).

    stage 1   teacher's features of the image ──> teacher's image head ──┐
                                                                         ├──> one Hamming space
              label prompt ──> teacher's text tower ──> label head ──────┘
    stage 2   the teacher's codes of images and labels, now fixed ──> student's image head and text head

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: the label prompt, the
two stages, "directly narrowing the modality gap", and the image's Hamming space as the student's prior knowledge. Ours
is that the student has an image head of its own, on the features of a lighter tower, which learns that space as the
texts do.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.features import Features
from hashcli.distillation.heads import HashHead, StandardisedHead
from hashcli.distillation.losses import (
    balance,
    modality_gap,
    negative_log_likelihood,
    quantisation,
    signs,
    theta,
)
from hashcli.distillation.settings import TeacherSettings, choice, flag, number, template
from hashcli.distillation.towers import ImageTower
from hashcli.distillation.trainer import HashHeads, Method, Outputs, Trainer
from hashcli.distillation.tuning import TeacherImages, check_teacher
from hashcli.errors import HashcliError

LABEL_INPUTS = ("prompt", "names", "mean", "classes")


@dataclass(frozen=True, kw_only=True)
class SodaSettings(TeacherSettings):
    """What SODA needs beside the shared settings. The defaults are ours: the paper's are not public."""

    prompt: str = template("a photo of {}.", "the sentence that labels become; {} stands for them")
    label_input: str = choice(
        "prompt",
        LABEL_INPUTS,
        "what the label network sees: one sentence of all labels, their names alone, the mean of a sentence for each "
        "label, or the classes as 0 and 1",
    )
    two_stages: bool = flag(True, "false: train teacher and student at once, the ablation of the stages")
    gap: float = number(1.0, 0, 1e6, "weight: an image's and its labels' outputs should be close")
    label_codes: bool = flag(
        True, "the student learns the teacher's codes of images and labels together; false: of images alone"
    )
    balance: float = number(0.01, 0, 1e6, "weight: each bit should be 1 for half of the items")
    instance: float = number(0.3, 0, 1e6, "weight: the student's outputs should be close to the teacher's code")
    pairs: float = number(1.0, 0, 1e6, "weight: the student's outputs of similar images and texts should be close")
    relation: float = number(
        0.3, 0, 1e6, "weight: a student's output should be as similar to the teacher's other codes as its own code is"
    )


def check_soda(settings: SodaSettings, dataset: ImageTextDataset, teacher: ImageTower) -> None:
    """Raises HashcliError for a dataset without labels, and for a teacher that is to be fine-tuned and cannot be."""
    if dataset.labels is None:
        raise HashcliError(
            "SODA turns labels into prompts, and this dataset has no labels.", "Choose the method ckdh or lcdh."
        )
    check_teacher(settings, dataset, teacher)


@dataclass(frozen=True)
class TeacherNetwork:
    """The teacher: a hash head on its features of the images, and one on what the label network sees of each row.

    `labels` is float32 [m, width]. The label head is not used after the teacher's stage.
    """

    images: TeacherImages
    labels: Tensor
    image_head: StandardisedHead
    label_head: HashHead

    @classmethod
    def for_trainer(cls, trainer: Trainer[SodaSettings]) -> "TeacherNetwork":
        training_set, labels = trainer.training_set, label_features(trainer)
        images = TeacherImages(training_set, trainer.settings)
        return cls(
            images, labels, trainer.new_image_head(training_set.teacher_image), trainer.new_head(labels.shape[1])
        )

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"teacher": self.image_head, "label": self.label_head} | self.images.modules())

    def encode(self, features: Features) -> Outputs:
        """Outputs before the sign, for images alone."""
        return {"image": self.image_head(self.images.of_photos(features))}

    def codes(self, features: Tensor, rows: Tensor, labelled: Tensor) -> Tensor:
        """The codes of training rows, -1 and +1 [n, r], from the features of their images [n, width].

        The code of a row among `labelled` is of its image and its labels together, B = sign(H^v + H^l) as in the
        quantisation term; of any other, of its image. No gradient goes through it.
        """
        with torch.no_grad():
            relaxed, known = torch.tanh(self.image_head(features)), torch.isin(rows, labelled)
            relaxed[known] += torch.tanh(self.label_head(self.labels[rows[known]]))
            return signs(relaxed)


def train_soda(trainer: Trainer[SodaSettings]) -> HashHeads:
    """Stage 1 maps the teacher's images and label prompts into one Hamming space; stage 2 brings the student into it.

    With `two_stages = false` teacher and student are trained at once, the ablation of the stages; with `distil = false`
    the student is trained on the labels alone, the ablation without a teacher.
    """
    heads = trainer.new_heads()
    if not trainer.settings.distil:
        trainer.train_on_labels(
            "soda-without-teacher", heads.modules(), lambda rows: _label_loss(trainer, heads, rows), heads.encode
        )
        return heads

    teacher = TeacherNetwork.for_trainer(trainer)
    with_labels = trainer.training_set.labelled if trainer.settings.label_codes else torch.arange(0)
    if not trainer.settings.two_stages:

        def joint_loss(rows: Tensor) -> dict[str, Tensor]:
            features = teacher.images.of_rows(rows)
            has_labels = torch.isin(rows, trainer.training_set.labelled)
            terms = _teacher_loss(trainer, teacher, features[has_labels], rows[has_labels]) if has_labels.any() else {}
            student = _student_loss(trainer, heads, teacher.codes(features, rows, with_labels), rows)
            return {f"teacher {name}": term for name, term in terms.items()} | student

        modules = nn.ModuleDict(dict(teacher.modules()) | dict(heads.modules()))
        trainer.train("soda-joint", modules, joint_loss, heads.encode)
        return heads

    trainer.train_on_labels(
        "soda-teacher",
        teacher.modules(),
        lambda rows: _teacher_loss(trainer, teacher, teacher.images.of_rows(rows), rows),
        teacher.encode,
    )
    trainer.evaluator.report("soda's teacher", teacher.encode)
    # B [m, r]: fixed from here on
    codes = teacher.codes(teacher.images.of_all_rows(), torch.arange(len(trainer.training_set)), with_labels)
    trainer.train(
        "soda-student", heads.modules(), lambda rows: _student_loss(trainer, heads, codes[rows], rows), heads.encode
    )
    return heads


def label_features(trainer: Trainer[SodaSettings]) -> Tensor:
    """What the label network sees of each row's labels: float32 [m, width], by `label_input`; 0 without labels."""
    training_set, settings = trainer.training_set, trainer.settings
    assert training_set.labels is not None
    device = training_set.image.device
    names = [name.replace("_", " ") for name in training_set.label_names]
    if settings.label_input == "classes":
        return training_set.labels
    if settings.label_input == "mean":
        each = training_set.prompts([settings.prompt.replace("{}", name) for name in names])
        return functional.normalize(training_set.labels @ each.to(device))
    sentence = "{}" if settings.label_input == "names" else settings.prompt
    rows = training_set.labelled
    encoded = training_set.prompts(label_prompts(training_set.labels.cpu()[rows], names, sentence))
    return encoded.new_zeros(len(training_set), encoded.shape[1]).index_copy(0, rows, encoded).to(device)


def label_prompts(labels: Tensor, names: list[str], template: str) -> list[str]:
    """One sentence for each row of labels: "a photo of sky, sea and people."; for the template {}, the names alone."""
    sentences = []
    for row in labels:
        shown = [names[i] for i in row.nonzero().flatten().tolist()]
        listed = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
        sentences.append(" ".join(shown) if template == "{}" else template.replace("{}", listed))
    return sentences


def _teacher_loss(
    trainer: Trainer[SodaSettings], teacher: TeacherNetwork, features: Tensor, rows: Tensor
) -> dict[str, Tensor]:
    """The terms for images, by their features, and label prompts.

    Our reconstruction, but for the gap, which the abstract names.
    """
    settings, similar = trainer.settings, trainer.training_set.similarity(rows)
    image = torch.tanh(teacher.image_head(features))
    label = torch.tanh(teacher.label_head(teacher.labels[rows]))
    return _likelihood(image, label, similar, settings.sharpness) | {
        "gap": settings.gap * modality_gap(image, label),
        "quantisation": settings.quantisation * quantisation(image, label),
        "balance": settings.balance * balance(image, label),
    }


def _student_loss(trainer: Trainer[SodaSettings], heads: HashHeads, codes: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """The terms for the student's images and texts, given the teacher's codes of the rows, -1 and +1 [batch, r].

    Our reconstruction. Each modality is brought to the teacher's codes by itself, and by the pairs to the other. Of a
    pair without labels these codes also say how similar it is.
    """
    settings, training_set = trainer.settings, trainer.training_set
    similar, known, r = training_set.similarity(rows), training_set.known(rows), codes.shape[1]
    if known is not None:
        similar = torch.where(known, similar, torch.sigmoid(theta(codes, codes, settings.sharpness)))

    def terms(relaxed: Tensor) -> dict[str, Tensor]:
        return {
            "likelihood": negative_log_likelihood(theta(codes, relaxed, settings.sharpness), similar)
            + 0.5 * negative_log_likelihood(theta(relaxed, relaxed, settings.sharpness), similar),
            "instance": settings.instance * modality_gap(relaxed, codes),
            "relation": settings.relation * ((relaxed @ codes.T / r - codes @ codes.T / r) ** 2).mean(),
            "quantisation": settings.quantisation * quantisation(relaxed),
        }

    image, text = torch.tanh(heads.image(training_set.image[rows])), torch.tanh(heads.text(training_set.text[rows]))
    of_image, of_text = terms(image), terms(text)
    pairs = negative_log_likelihood(theta(image, text, settings.sharpness), similar)
    return {name: of_image[name] + of_text[name] for name in of_image} | {"pairs": settings.pairs * pairs}


def _label_loss(trainer: Trainer[SodaSettings], heads: HashHeads, rows: Tensor) -> dict[str, Tensor]:
    """The terms without a teacher: images and texts learn from the labels alone."""
    training_set = trainer.training_set
    similar = training_set.similarity(rows)
    image, text = torch.tanh(heads.image(training_set.image[rows])), torch.tanh(heads.text(training_set.text[rows]))
    return _likelihood(image, text, similar, trainer.settings.sharpness) | {
        "quantisation": trainer.settings.quantisation * quantisation(image, text)
    }


def _likelihood(a: Tensor, b: Tensor, similar: Tensor, sharpness: float) -> dict[str, Tensor]:
    """Of similarity between two modalities and, at half the weight, within each (DCMH has only the first)."""
    return {
        "likelihood": negative_log_likelihood(theta(a, b, sharpness), similar)
        + 0.5 * negative_log_likelihood(theta(a, a, sharpness), similar)
        + 0.5 * negative_log_likelihood(theta(b, b, sharpness), similar)
    }


METHOD = Method(
    "labels as prompts, a teacher of images and labels, then a student of its codes (arXiv 2510.09664)",
    SodaSettings,
    train_soda,
    check=check_soda,
    reconstruction=True,
    version=2,  # the first (0.2) had no teacher but the student's features, other heads and another likelihood
)
