"""LCDH: an attention-fused CLIP teacher, and a light student trained online on a stream (arXiv 2502.19751, AAAI-25).

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: CLIP features fused by
attention and a fully connected layer, the teacher's similarity approximated by the online student through a logistic
likelihood, two weights lambda1 and lambda2 (what they weigh is our guess), and the rounds of a stream. The teacher is
trained on the whole training set before the stream begins. After each round the student encodes the anchors again, as
it does the database in the end, so old codes may change; in an update (update.py) they stay.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hashcli.distillation.features import Features
from hashcli.distillation.losses import half_inner, info_nce, negative_log_likelihood, quantisation, signs
from hashcli.distillation.settings import TeacherSettings, flag, number
from hashcli.distillation.trainer import HashHeads, Method, Outputs, Trainer
from hashcli.distillation.tuning import TeacherImages, check_teacher


@dataclass(frozen=True, kw_only=True)
class LcdhSettings(TeacherSettings):
    """What LCDH needs beside the shared settings. The defaults are ours: the paper's are not public."""

    attention: bool = flag(True, "false: the teacher joins image and text without attention, an ablation")
    rounds: int = number(5, 1, 10**6, "parts of the stream, each trained on before the next is seen")
    round_steps: int = number(200, 1, 10**6, "batches in each round, at least: a small round has more passes")
    teacher_share: float = number(
        0.5, 0, 1, "beta: the teacher's share in the target; 1 is the teacher alone, 0 labels alone"
    )
    lambda1: float = number(0.5, 0, 1e6, "weight: similarities within each modality")
    lambda2: float = number(0.5, 0, 1e6, "weight: similarities to the anchors of earlier rounds")


@dataclass(frozen=True)
class OldItems:
    """The anchors of earlier rounds: `rows` int64 [n] and their `codes`, -1 and +1 [n, r]."""

    rows: Tensor
    codes: Tensor


def train_lcdh(trainer: Trainer[LcdhSettings]) -> HashHeads:
    """Train the teacher, then the student chunk by chunk; of old data only a few anchors are kept.

    With `distil = false` the student's similarities are the labels alone: the ablation.
    """
    heads, training_set, settings = trainer.new_heads(), trainer.training_set, trainer.settings
    teacher = _train_teacher(trainer) if settings.distil else None
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(len(training_set), generator=generator)
    priority = torch.rand(len(training_set), generator=generator)
    seen = order[:0]
    anchors = OldItems(seen, torch.empty(0, trainer.bits, device=training_set.image.device))
    rounds = max(1, min(settings.rounds, len(order) // 2))  # one row alone has no pairs
    for round_number, chunk in enumerate(order.tensor_split(rounds), start=1):

        def loss(rows: Tensor, anchors: OldItems = anchors) -> dict[str, Tensor]:
            return _round_loss(trainer, heads, teacher, rows, anchors)

        seen = torch.cat([seen, chunk])
        passes = math.ceil(settings.round_steps / math.ceil(len(chunk) / settings.batch))
        name = f"lcdh-round-{round_number}"
        trainer.train(name, heads.modules(), loss, heads.encode, rows=chunk, seen=seen, epochs=passes)
        trainer.evaluator.report_validation(f"validation, round {round_number}", heads.encode, seen)
        # A reservoir: an even sample of all rows seen so far. A row that has left it does not come back.
        candidates = torch.cat([anchors.rows, chunk])
        kept = candidates[priority[candidates].argsort()[: settings.anchors]]
        with torch.no_grad():
            image, text = (
                torch.tanh(heads.image(training_set.image[kept])),
                torch.tanh(heads.text(training_set.text[kept])),
            )
            anchors = OldItems(kept, signs(image + text))
    return heads


def _train_teacher(trainer: Trainer[LcdhSettings]) -> Tensor:
    """H^T [m, r], the fused relaxed codes of all training rows."""
    training_set, settings = trainer.training_set, trainer.settings
    width = training_set.teacher_image.shape[1]
    teacher = FusedTeacher(width, trainer.bits, heads=8, attend=settings.attention).to(training_set.image.device)
    images = TeacherImages(training_set, settings)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        outputs, tokens = teacher(images.of_rows(rows), training_set.teacher_text[rows])
        relaxed = torch.tanh(outputs)
        return {
            "likelihood": negative_log_likelihood(
                half_inner(relaxed, relaxed), training_set.similarity(rows), training_set.balanced
            ),
            "quantisation": settings.quantisation * quantisation(relaxed),
            "contrast": settings.contrast * info_nce(tokens[:, 0], tokens[:, 1]),
        }

    def encode(features: Features) -> Outputs:
        return {"pair": teacher(images.of_photos(features)[features.photo_of], features.teacher_text)[0]}

    trainer.train("lcdh-teacher", nn.ModuleDict({"teacher": teacher} | images.modules()), loss, encode)
    trainer.evaluator.report("lcdh's teacher", encode)
    with torch.no_grad():
        return torch.tanh(teacher(images.of_all_rows(), training_set.teacher_text)[0])


def _target(trainer: Trainer[LcdhSettings], teacher: Tensor | None, rows: Tensor, others: Tensor) -> Tensor:
    """S~ in [0, 1]^(rows x others): the logistic of the teacher's Theta, mixed with the labels by `teacher_share`."""
    labels = trainer.training_set.similarity(rows, others)
    if teacher is None:
        return labels
    share = trainer.settings.teacher_share
    return share * torch.sigmoid(half_inner(teacher[rows], teacher[others])) + (1 - share) * labels


def _round_loss(
    trainer: Trainer[LcdhSettings], heads: HashHeads, teacher: Tensor | None, rows: Tensor, anchors: OldItems
) -> dict[str, Tensor]:
    """The terms of a batch in a round. Our reconstruction, with lambda1 and lambda2 where we guess them to be."""
    training_set, settings = trainer.training_set, trainer.settings
    image = torch.tanh(heads.image(training_set.image[rows]))
    text = torch.tanh(heads.text(training_set.text[rows]))
    target = _target(trainer, teacher, rows, rows)

    def likelihood(a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        """Theta = (lambda_r / r) a b^T, lambda_r = 4, 8, 10 for 16, 32, 64 bits as in OH-ELS, then 12 (ours)."""
        scale = np.interp(np.log2(trainer.bits), [4, 5, 6, 7], [4, 8, 10, 12]) / trainer.bits
        return negative_log_likelihood(float(scale) * a @ b.T, similar, training_set.balanced)

    terms = {
        "inter": likelihood(image, text, target),
        "intra": settings.lambda1 * 0.5 * (likelihood(image, image, target) + likelihood(text, text, target)),
        "quantisation": settings.quantisation * quantisation(image, text),
    }
    if len(anchors.rows):
        old = _target(trainer, teacher, rows, anchors.rows)
        to_images, to_texts = likelihood(image, anchors.codes, old), likelihood(text, anchors.codes, old)
        terms["old"] = settings.lambda2 * 0.5 * (to_images + to_texts)
    return terms


class FusedTeacher(nn.Module):
    """LCDH's teacher: the two features of one item as two tokens, one attention block, and a fully connected layer.

    It needs both modalities of an item, so it can teach but cannot encode a query.
    """

    def __init__(self, width: int, bits: int, heads: int, *, attend: bool) -> None:
        super().__init__()
        self.modality = nn.Parameter(torch.zeros(2, width))
        self.block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Linear(2 * width, bits)
        self.attend = attend

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, width] each; to outputs [n, bits] and the attended tokens [n, 2, width]."""
        tokens = torch.stack([image, text], dim=1) + self.modality
        if self.attend:
            tokens = self.block(tokens)
        return self.head(tokens.flatten(1)), tokens


METHOD = Method(
    "an attention-fused teacher, and a student trained online on a stream (arXiv 2502.19751)",
    LcdhSettings,
    train_lcdh,
    check=check_teacher,
    reconstruction=True,
    needs_teacher_texts=True,  # the teacher fuses a photo with its text
)
