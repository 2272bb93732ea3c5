"""An update: a trained student learns new data without the old data.

Where it reads texts as bags of words, the words of the new texts come into its bag first (student.with_new_words): a
text of unknown words alone has one code with all others like it, and nothing can be learned of it.

It is like a round of LCDH's stream, with the student's anchors in place of the old data. Our own design.
"""

from typing import Any

import torch
from torch import Tensor

from hashcli.distillation.losses import (
    known_pairs,
    label_similarity,
    modality_gap,
    negative_log_likelihood,
    quantisation,
    signs,
    teacher_similarity,
    theta,
)
from hashcli.distillation.settings import Settings, shown
from hashcli.distillation.student import Anchors, Student
from hashcli.distillation.trainer import HashHeads, Trainer
from hashcli.distillation.training_set import SAMPLE, TrainingSet
from hashcli.errors import HashcliError


def check_update_settings(student: Student, settings: Settings) -> None:
    """Raises HashcliError for a setting that shaped the student and has another value now."""
    fixed = ["method", *(name for name, rule in settings.rules().items() if rule.fixed)]
    if student.is_tuned:
        fixed.append("student")  # its tower is the tuned one
    for name in fixed:
        before, now = getattr(student.settings, name, None), getattr(settings, name)
        if before != now:
            raise HashcliError(
                f"The model to update has {name} {shown(before)}, which {shown(now)} cannot replace.",
                f"Leave {name} out: an update keeps the model's own.",
            )


def check_update_towers(student: Student, towers: dict[str, str]) -> None:
    """Raises HashcliError if the keys of the towers are not those of the towers that the student learned from."""
    for what, key in student.towers.items():
        if towers[what] != key:
            raise HashcliError(
                f"The model to update knows the {what} {key}, and this one is {towers[what]}.",
                "Train a new model: what was learned from one model's features is of no use with those of another.",
            )


def update_student(trainer: Trainer[Any], student: Student) -> HashHeads:
    """Go on training the student's heads, in place.

    The codes of new items should be similar to each other's and to the anchors' old codes where the items are similar;
    and the anchors should keep their codes, so that codes from before the update can still be searched.
    """
    heads, anchors = student.heads, student.anchors
    training_set, settings = trainer.training_set, trainer.settings

    old_threshold = _old_threshold(training_set, anchors)

    def old_similarity(rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """S between rows and anchors [n, anchors], and of which pairs it is known."""
        same_labels = training_set.label_names == student.label_names
        if training_set.labels is not None and anchors.labels is not None and same_labels:
            labels = training_set.labels[rows]
            return label_similarity(labels, anchors.labels), known_pairs(labels, anchors.labels)
        image, text = training_set.teacher_image[rows], training_set.teacher_text[rows]
        similarity = teacher_similarity(image, text, anchors.teacher_image, anchors.teacher_text)
        return (similarity >= old_threshold).float(), None

    def likelihood(a: Tensor, b: Tensor, pairs: tuple[Tensor, Tensor | None]) -> Tensor:
        similar, known = pairs
        return negative_log_likelihood(theta(a, b, settings.sharpness), similar, training_set.balanced, known)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        among, old = (training_set.similarity(rows), training_set.known(rows)), old_similarity(rows)
        image, text = torch.tanh(heads.image(training_set.image[rows])), torch.tanh(heads.text(training_set.text[rows]))
        old_image, old_text = torch.tanh(heads.image(anchors.image)), torch.tanh(heads.text(anchors.text))
        kept = modality_gap(old_image, anchors.image_codes) + modality_gap(old_text, anchors.text_codes)
        return {
            "inter": likelihood(image, text, among),
            "old": likelihood(image, anchors.text_codes, old) + likelihood(text, anchors.image_codes, old),
            "keep": settings.keep * kept,
            "quantisation": settings.quantisation * quantisation(image, text),
        }

    trainer.train("update", heads.modules(), loss, heads.encode)
    return heads


def _old_threshold(training_set: TrainingSet, anchors: Anchors) -> float:
    """The share `neighbours` of the pairs of a new row and an anchor is as similar as this, or more: at least one pair.

    A threshold of pairs of new rows would leave none where the old items are of another kind. The likelihood would then
    only drive the new codes away from the old ones, and the least costly way is one code for all new photos.
    """
    rows = torch.randperm(len(training_set), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    image, text = training_set.teacher_image[rows], training_set.teacher_text[rows]
    similarity = teacher_similarity(image, text, anchors.teacher_image, anchors.teacher_text).flatten()
    return float(similarity.topk(max(1, round(training_set.neighbours * len(similarity)))).values[-1])


def kept_bits(student: Student, heads: HashHeads) -> tuple[float, float]:
    """The share of the anchors' bits that the heads give as before: of images, and of texts."""
    with torch.no_grad():
        image = signs(heads.image(student.anchors.image)) == student.anchors.image_codes
        text = signs(heads.text(student.anchors.text)) == student.anchors.text_codes
    return float(image.float().mean()), float(text.float().mean())
