"""The light student of a run without pairs: other towers give the codes of a teacher, in the teacher's Hamming space.

The teacher's hash layers are fixed. The student's image half gets a hash layer that is fitted on photos alone, and its
text half, unless that is the teacher's own, one that is fitted on sentences alone: linear maps from the features of its
towers to the teacher's outputs, by ridge regression. The student is then searched as its teacher is.

On 4,200 photos that the teacher had not seen, hidden layers, and training on the ranking of the sentences from this map
on, found the right photo no more often.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hashcli.datasets.vocabulary import bag_of_words, build_vocabulary, read_vocabulary
from hashcli.distillation.feature_files import PREFIX
from hashcli.distillation.heads import HashLayer
from hashcli.distillation.open_towers import open_image_tower, open_teacher
from hashcli.distillation.settings import BAG, UnpairedSettings, text_parts
from hashcli.distillation.towers import ImageTower, TextTower
from hashcli.distillation.trainer import HashHeads
from hashcli.errors import HashcliError

NO_STUDENT = "none"  # values of the settings `student` and `text`
TEACHERS_TEXT = "teacher"
PENALTY = 64.0  # divided by the square root of the number of items: leaving photos out, of 300 to 6,000, chose it
ROWS = 4_096  # at a time, of the features that are copied in double precision


@dataclass(frozen=True)
class StudentTowers:
    """The towers of a student. `text` is None if texts are read by the teacher's text half, or as bags of words."""

    image: ImageTower
    text: TextTower | None
    shares_text: bool

    def keys(self) -> dict[str, str]:
        """What identifies their features, as run.json keeps it."""
        text = self.text.key if self.text else TEACHERS_TEXT if self.shares_text else BAG
        return {"student": self.image.key, "student's text": text}


@dataclass(frozen=True)
class StudentView:
    """What the student's towers see of all items of a run, float32: `image` [n, width], `text` [m, width] or None.

    Rows of `image` are of unit length, and those of `text` unless they are bags of the `vocabulary`'s words.
    """

    image: Tensor
    text: Tensor | None
    vocabulary: Sequence[str] = ()


def open_student(settings: UnpairedSettings, device: torch.device) -> StudentTowers | None:
    """The student's towers by their names in the settings, or None if there is to be no student."""
    if settings.student == NO_STUDENT:
        if settings.text != TEACHERS_TEXT:
            raise HashcliError(
                f"text {settings.text} is the student's, and there is to be none.", "Leave text out, or name a student."
            )
        return None
    _check_names(settings)
    image = open_image_tower(settings.student, device, "backbone")
    shares_text = settings.text in (TEACHERS_TEXT, settings.teacher)
    if shares_text or settings.text == BAG:
        return StudentTowers(image, None, shares_text)
    return StudentTowers(image, open_teacher(settings.text, device)[1], shares_text=False)


def _check_names(settings: UnpairedSettings) -> None:
    """Raise HashcliError for a student that is vectors in a file, and for a bag of words beside a text tower."""
    for half, name in (("student", settings.student), ("text", settings.text)):
        if name.startswith(PREFIX):
            raise HashcliError(
                f"{half}: vectors in a file cannot encode new photos and texts, as a student must.",
                "Choose a hash model for the student.",
            )
    if all(text_parts(settings.text)):
        raise HashcliError(
            f"text {settings.text}: a bag of words beside a model is for methods that learn from pairs.",
            "Choose one of the two.",
        )


def make_bags(texts: Sequence[str], fitted: int, settings: UnpairedSettings) -> tuple[Tensor, list[str]]:
    """All texts as bags of words, float32 [m, words], and the words: a file's, or the most frequent of the `fitted`."""
    vocabulary = (
        read_vocabulary(Path(settings.vocabulary))
        if settings.vocabulary
        else build_vocabulary(texts[:fitted], settings.words)
    )
    return torch.from_numpy(bag_of_words(list(texts), vocabulary)).float(), vocabulary


def fit_student(
    view: StudentView, teacher: HashHeads, features: tuple[Tensor, Tensor], fitted: tuple[int, int]
) -> HashHeads:
    """The student's hash layers, fitted on the first `fitted` photos and sentences.

    `features` are the teacher's of the same photos and sentences, [n, width] and [m, width]. A text half that is the
    teacher's keeps the teacher's layer.
    """
    (image, text), (photos, sentences) = features, fitted
    with torch.no_grad():
        image_layer = fit_layer(view.image[:photos], teacher.image(image[:photos]))
        if view.text is None:
            return HashHeads(image_layer, teacher.text)
        return HashHeads(image_layer, fit_layer(view.text[:sentences], teacher.text(text[:sentences])))


def fit_layer(features: Tensor, outputs: Tensor) -> HashLayer:
    """The linear layer that takes features [n, width] as nearly as it can to outputs [n, bits].

    It minimises the mean squared error plus a penalty on the squared weights, for features brought to mean 0 and
    variance 1: ridge regression (Hoerl and Kennard, Technometrics 1970). A feature that is constant has no weight.
    """
    mean, centre = features.double().mean(dim=0), outputs.double().mean(dim=0)
    spread = features.double().std(dim=0, correction=0)
    scale = torch.where(spread > 0, 1 / spread, 0.0)
    width, bits = features.shape[1], outputs.shape[1]
    penalty = PENALTY / math.sqrt(len(features))
    covariance, shared = penalty * torch.eye(width).double(), torch.zeros(width, bits).double()
    for rows in torch.arange(len(features)).split(ROWS):  # type: ignore[no-untyped-call]
        part = (features[rows].double() - mean) * scale
        covariance += part.T @ part / len(features)
        shared += part.T @ (outputs[rows].double() - centre) / len(features)
    weight = torch.linalg.solve(covariance, shared) * scale[:, None]
    layer = HashLayer(width, bits)
    layer.weight.data = weight.T.float().contiguous()
    layer.bias.data = (centre - mean @ weight).float()
    return layer.requires_grad_(False)
