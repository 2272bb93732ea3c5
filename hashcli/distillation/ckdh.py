"""CKDH: a CLIP image and graph-attention text teacher, whose similarity matrix a light student learns (TCSVT 2024).

Our reconstruction: of the paper only the abstract could be read. Known from it: the fine-tuned CLIP, the graph
attention over a bag of words, a similarity that joins log-likelihood, intra- and inter-modality similarities, and that
the similarity matrix is what is distilled. Here CLIP is fine-tuned within the teacher's stage, by the teacher's loss,
if `tune_teacher` says so; otherwise its features are frozen and only its head learns.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.features import Features
from hashcli.distillation.heads import GraphTextTeacher
from hashcli.distillation.losses import cosine, cosine_target, half_inner, negative_log_likelihood, quantisation
from hashcli.distillation.settings import TUNING, Settings, choice, flag, number
from hashcli.distillation.towers import ImageTower
from hashcli.distillation.trainer import HashHeads, Method, Outputs, Trainer
from hashcli.distillation.tuning import TunedTower, tunable

Similarities = tuple[Tensor, Tensor]  # S_T in [-1, 1] and P_T in [0, 1], each [n, n]


@dataclass(frozen=True, kw_only=True)
class CkdhSettings(Settings):
    """What CKDH needs beside the shared settings. The defaults are ours: the paper's are not public."""

    tune_teacher: str = choice(
        "head",
        TUNING,
        "fine-tune an open_clip teacher's image tower: no part, its last block, or all of it",
        fixed=True,
    )
    graph_attention: bool = flag(True, "false: the text teacher sees each text alone, an ablation")
    graph_neighbours: int = number(10, 1, 10**6, "nearest texts of a batch that are a text's neighbours in the graph")
    likelihood: float = number(1.0, 0, 1e6, "weight: similar images and texts should have similar codes")
    intra: float = number(0.5, 0, 1e6, "weight: cosines within each modality should be as the target says")
    inter: float = number(1.0, 0, 1e6, "weight: cosines between the modalities should be as the target says")
    kappa: float = number(0.5, 0, 1e3, "how sharply the teacher's similarity becomes a probability")


def check_teacher(settings: CkdhSettings, dataset: ImageTextDataset, teacher: ImageTower) -> None:
    """Raises HashcliError for a teacher that is to be fine-tuned and cannot be."""
    if settings.tune_teacher != "head":
        tunable(teacher, "tune_teacher")


def train_ckdh(trainer: Trainer[CkdhSettings]) -> HashHeads:
    """The teacher learns from labels (or, without them, its own features); the student from the teacher alone.

    With `distil = false` the student learns from the labels as the teacher would: the ablation.
    """
    heads = trainer.new_heads()
    distil, training_set = trainer.settings.distil, trainer.training_set
    similarities = _train_teacher(trainer) if distil else lambda rows: _label_similarities(trainer, rows)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        image = torch.tanh(heads.image(training_set.image[rows]))
        text = torch.tanh(heads.text(training_set.text[rows]))
        return _terms(trainer, image, text, *similarities(rows))

    trainer.train("ckdh-student" if distil else "ckdh-without-teacher", heads.modules(), loss, heads.encode)
    return heads


def _train_teacher(trainer: Trainer[CkdhSettings]) -> Callable[[Tensor], Similarities]:
    """Train the teacher; the returned function gives its similarities of some rows."""
    training_set, settings = trainer.training_set, trainer.settings
    image_head = trainer.new_head(training_set.teacher_image.shape[1])
    width = training_set.text.shape[1]
    text_teacher = GraphTextTeacher(
        width, trainer.bits, 0.3, settings.graph_neighbours, attend=settings.graph_attention
    )
    text_teacher.to(training_set.text.device)
    modules = nn.ModuleDict({"image": image_head, "text": text_teacher})
    tower = None
    if settings.tune_teacher != "head":  # a copy, since each code length tunes the tower afresh
        frozen = tunable(training_set.teacher_tower, "tune_teacher")
        modules["tower"] = tower = TunedTower(copy.deepcopy(frozen), settings.tune_teacher)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        if tower:
            features = tower([training_set.photos[place] for place in training_set.photo[rows].tolist()])
        else:
            features = training_set.teacher_image[rows]
        image, text = torch.tanh(image_head(features)), torch.tanh(text_teacher(training_set.text[rows]))
        return _terms(trainer, image, text, *_label_similarities(trainer, rows))

    def encode(features: Features) -> Outputs:
        """A text's neighbours are those of its batch, as in training, so its code depends on the batch."""
        images = tower.features(features.photos) if tower else features.teacher_image
        texts = [text_teacher(batch) for batch in features.text.split(settings.batch)]
        return {"image": image_head(images), "text": torch.cat(texts)}

    trainer.train("ckdh-teacher", modules, loss, encode, tower_learning_rate=settings.tune_learning_rate)
    trainer.evaluator.report("ckdh's teacher", encode)
    with torch.no_grad():
        images = tower.features(training_set.photos)[training_set.photo] if tower else training_set.teacher_image
        image_outputs = torch.tanh(image_head(images))

    def similarities(rows: Tensor) -> Similarities:
        """S_T: the mean of the cosines of image with image, text with text, and of each with the other."""
        with torch.no_grad():
            image, text = image_outputs[rows], torch.tanh(text_teacher(training_set.text[rows]))
            across = cosine(image, text)
            similar = 0.25 * cosine(image, image) + 0.25 * cosine(text, text) + 0.25 * (across + across.T)
        return similar, torch.sigmoid(settings.kappa * trainer.bits * similar / 2)

    return similarities


def _label_similarities(trainer: Trainer[CkdhSettings], rows: Tensor) -> Similarities:
    similar = trainer.training_set.similarity(rows)
    return cosine_target(similar, trainer.training_set.balanced), similar


def _terms(
    trainer: Trainer[CkdhSettings], image: Tensor, text: Tensor, target: Tensor, probability: Tensor
) -> dict[str, Tensor]:
    """The same four terms teach the teacher (target 2S - 1, probability S) and the student (S_T, P_T)."""
    settings, mse = trainer.settings, functional.mse_loss
    return {
        "likelihood": settings.likelihood
        * negative_log_likelihood(half_inner(image, text), probability, trainer.training_set.balanced),
        "intra": settings.intra * (mse(cosine(image, image), target) + mse(cosine(text, text), target)),
        "inter": settings.inter * mse(cosine(image, text), target),
        "quantisation": settings.quantisation * quantisation(image, text),
    }


METHOD = Method(
    "a graph-attention text teacher, whose similarity matrix the student learns (TCSVT 2024)",
    CkdhSettings,
    train_ckdh,
    check=check_teacher,
    reconstruction=True,
)
