"""LCDH: an attention-fused CLIP teacher, and a light student trained online on a stream (arXiv 2502.19751, AAAI-25).

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: CLIP features fused by
attention and a fully connected layer, the teacher's similarity approximated by the online student through a logistic
likelihood, two weights lambda1 and lambda2 (what they weigh is our guess), and the rounds of a stream. The teacher is
trained on the whole training set before the stream begins, or, by `teacher_data`, on each round's part as it comes. In
the latter case only the first round's photos say how the student's features vary, and in the former all training
photos; the vocabulary of the bag of words is of all training texts in both.
After each round the student encodes the anchors again, as it does the database in the end, so old codes may change; in
an update (update.py) they stay.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hashcli.distillation.features import Features
from hashcli.distillation.losses import info_nce, negative_log_likelihood, quantisation, signs, theta
from hashcli.distillation.settings import TeacherSettings, choice, flag, number
from hashcli.distillation.trainer import HashHeads, Method, Outputs, Trainer
from hashcli.distillation.training_set import TrainingSet
from hashcli.distillation.tuning import TeacherImages, check_teacher


@dataclass(frozen=True, kw_only=True)
class LcdhSettings(TeacherSettings):
    """What LCDH needs beside the shared settings. The defaults are ours: the paper's are not public."""

    attention: bool = flag(True, "false: the teacher joins image and text without attention, an ablation")
    rounds: int = number(5, 1, 10**6, "parts of the stream, each trained on before the next is seen")
    round_steps: int = number(400, 1, 10**6, "batches in each round, at least: a small round has more passes")
    teacher_share: float = number(
        0.5, 0, 1, "beta: the teacher's share in the target; 1 is the teacher alone, 0 labels alone"
    )
    kappa: float = number(
        1.0, 0, 1e3, "how sharply the teacher's similarity becomes a probability; 1: as sharply as the student's does"
    )
    teacher_data: str = choice(
        "all", ("all", "rounds"), "what the teacher learns: all pairs before the stream, or each round's as it comes"
    )
    averaged: bool = flag(True, "the student's weights are the mean over the rounds, so that it forgets less")
    lambda1: float = number(0.5, 0, 1e6, "weight: similarities within each modality")
    lambda2: float = number(0.5, 0, 1e6, "weight: similarities to the anchors of earlier rounds")


@dataclass(frozen=True)
class OldItems:
    """The anchors of earlier rounds: `rows` int64 [n] and their `codes`, -1 and +1 [n, r]."""

    rows: Tensor
    codes: Tensor


def train_lcdh(trainer: Trainer[LcdhSettings]) -> HashHeads:
    """Train the teacher, then the student chunk by chunk; of old data only a few anchors are kept.

    With `distil = false` the student's similarities are the labels alone, and its stream is the rows that have labels:
    the ablation. After each round the query set is searched for in the rows of the rounds so far, by the codes that
    each got in its round (`stored codes`), and by codes that the student now gives them (`encoded anew`).
    """
    training_set, settings = trainer.training_set, trainer.settings
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(len(training_set), generator=generator)
    priority = torch.rand(len(training_set), generator=generator)
    if not settings.distil:
        order = order[torch.isin(order, training_set.labelled)]
    rounds = max(1, min(settings.rounds, len(order) // 2))  # one row alone has no pairs
    chunks = order.tensor_split(rounds)
    heads = trainer.new_heads(chunks[0] if settings.teacher_data == "rounds" else None)
    teacher = OnlineTeacher(trainer) if settings.distil else None
    if teacher and settings.teacher_data == "all":
        teacher.train("lcdh-teacher", torch.arange(len(training_set)))
    seen = order[:0]
    anchors = OldItems(seen, torch.empty(0, trainer.bits, device=training_set.image.device))
    stored = torch.empty(len(training_set), trainer.bits, device=training_set.image.device)
    for round_number, chunk in enumerate(chunks, start=1):
        if teacher and settings.teacher_data == "rounds":
            teacher.train(f"lcdh-teacher-round-{round_number}", chunk)

        taught = teacher.codes if teacher else None

        def loss(rows: Tensor, taught: Tensor | None = taught, anchors: OldItems = anchors) -> dict[str, Tensor]:
            return _round_loss(trainer, heads, taught, rows, anchors)

        seen = torch.cat([seen, chunk])
        passes = trainer.passes(chunk, settings.round_steps)
        name = f"lcdh-round-{round_number}"
        before = {key: value.clone() for key, value in heads.modules().state_dict().items()}
        trainer.train(name, heads.modules(), loss, heads.encode, rows=chunk, seen=seen, epochs=passes)
        if settings.averaged:
            _move_part_of_the_way(heads, before, 1 / round_number)
        stored[chunk] = _codes(training_set, heads, chunk)
        trainer.evaluator.report_stream(f"round {round_number}, stored codes", heads.encode, seen, stored[seen])
        trainer.evaluator.report_stream(f"round {round_number}, encoded anew", heads.encode, seen, None)
        # A reservoir: an even sample of all rows seen so far. A row that has left it does not come back.
        candidates = torch.cat([anchors.rows, chunk])
        kept = candidates[priority[candidates].argsort()[: settings.anchors]]
        anchors = OldItems(kept, _codes(training_set, heads, kept))
    return heads


def _move_part_of_the_way(heads: HashHeads, before: dict[str, Tensor], share: float) -> None:
    """Leave a share of a round's changes of the weights: with 1/t in round t, they are the mean over the rounds."""
    with torch.no_grad():
        for name, value in heads.modules().state_dict().items():
            value.copy_(torch.lerp(before[name], value, share))


def _codes(training_set: TrainingSet, heads: HashHeads, rows: Tensor) -> Tensor:
    """B, one code for a photo and its text together, -1 and +1 [n, r]."""
    with torch.no_grad():
        image, text = heads.image(training_set.image[rows]), heads.text(training_set.text[rows])
        return signs(torch.tanh(image) + torch.tanh(text))


class OnlineTeacher:
    """LCDH's teacher as its student meets it: `codes` float32 [m, r] are H^T, its relaxed codes of all rows."""

    codes: Tensor

    def __init__(self, trainer: Trainer[LcdhSettings]) -> None:
        training_set, settings = trainer.training_set, trainer.settings
        width = training_set.teacher_image.shape[1]
        fused = FusedTeacher(width, trainer.bits, heads=8, attend=settings.attention)
        self._trainer, self._fused = trainer, fused.to(training_set.image.device)
        self._images = TeacherImages(training_set, settings)

    def train(self, name: str, rows: Tensor) -> None:
        """Train on those of the rows that have labels."""
        trainer, training_set = self._trainer, self._trainer.training_set
        modules = nn.ModuleDict({"teacher": self._fused} | self._images.modules())
        trainer.train_on_labels(name, modules, self._loss, self._encode, rows)
        trainer.evaluator.report(name.replace("lcdh-", "lcdh's ").replace("-", " "), self._encode)
        with torch.no_grad():
            outputs, _ = self._fused(self._images.of_all_rows(), training_set.teacher_text)
            self.codes = torch.tanh(outputs)

    def _loss(self, rows: Tensor) -> dict[str, Tensor]:
        training_set, settings = self._trainer.training_set, self._trainer.settings
        outputs, tokens = self._fused(self._images.of_rows(rows), training_set.teacher_text[rows])
        relaxed = torch.tanh(outputs)
        return {
            "likelihood": negative_log_likelihood(
                theta(relaxed, relaxed, settings.sharpness), training_set.similarity(rows), training_set.balanced
            ),
            "quantisation": settings.quantisation * quantisation(relaxed),
            "contrast": settings.contrast * info_nce(tokens[:, 0], tokens[:, 1]),
        }

    def _encode(self, features: Features) -> Outputs:
        image = self._images.of_photos(features)[features.photo_of]
        return {"pair": self._fused(image, features.teacher_text)[0]}


def _target(trainer: Trainer[LcdhSettings], teacher: Tensor | None, rows: Tensor, others: Tensor) -> Tensor:
    """S~ in [0, 1]^(rows x others): the teacher's probability, mixed with the labels by `teacher_share`.

    The probability is the logistic of kappa times the teacher's Theta, at the student's scale. Of a pair without labels
    it is the target alone.
    """
    training_set, settings = trainer.training_set, trainer.settings
    labels = training_set.similarity(rows, others)
    if teacher is None:
        return labels
    taught = torch.sigmoid(settings.kappa * theta(teacher[rows], teacher[others], settings.sharpness))
    mixed = settings.teacher_share * taught + (1 - settings.teacher_share) * labels
    known = training_set.known(rows, others)
    return mixed if known is None else torch.where(known, mixed, taught)


def _round_loss(
    trainer: Trainer[LcdhSettings], heads: HashHeads, teacher: Tensor | None, rows: Tensor, anchors: OldItems
) -> dict[str, Tensor]:
    """The terms of a batch in a round. Our reconstruction, with lambda1 and lambda2 where we guess them to be."""
    training_set, settings = trainer.training_set, trainer.settings
    image = torch.tanh(heads.image(training_set.image[rows]))
    text = torch.tanh(heads.text(training_set.text[rows]))
    target = _target(trainer, teacher, rows, rows)

    def likelihood(a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        return negative_log_likelihood(theta(a, b, settings.sharpness), similar, training_set.balanced)

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
    version=2,  # the first (0.2) had other heads, another likelihood, and did not average the rounds
    needs_teacher_texts=True,  # the teacher fuses a photo with its text
)
