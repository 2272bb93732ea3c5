"""LCDH: an attention-fused CLIP teacher, and a light student trained online on a stream (arXiv 2502.19751, AAAI-25).

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: CLIP features fused by
attention and a fully connected layer, the teacher's similarity approximated by the online student through a logistic
likelihood, two weights lambda1 and lambda2 (what they weigh is our guess), and the rounds of a stream. The teacher is
trained on the whole training set before the stream begins (notes call it T-a).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hashcli.distillation.heads import FusedTeacher
from hashcli.distillation.losses import contrast, half_inner, negative_log_likelihood, quantisation, signs
from hashcli.distillation.material import Hashers, Job

RoundDone = Callable[[int, Hashers, Tensor], None]  # number, the student by now, the rows seen by now


def distill(job: Job, round_done: RoundDone | None = None) -> Hashers:
    """Train the teacher, then the student chunk by chunk; old data come back only as a few anchors' codes.

    With `distil = false` the student's similarities are the labels alone: the ablation.
    """
    hashers, material, config = job.hashers(), job.material, job.config
    teacher = _train_teacher(job) if config.distil else None
    order = torch.randperm(len(material), generator=torch.Generator().manual_seed(config.seed))
    anchors = torch.empty(0, dtype=torch.long)  # rows of old items
    anchor_codes = torch.empty(0, job.bits, device=material.image.device)
    seen = order[:0]
    for number, chunk in enumerate(order.tensor_split(config.rounds), start=1):

        def loss(rows: Tensor, anchors: Tensor = anchors, anchor_codes: Tensor = anchor_codes) -> dict[str, Tensor]:
            return _round(job, hashers, teacher, rows, anchors, anchor_codes)

        job.train(f"lcdh-round-{number}", hashers.modules(), loss, chunk, config.passes)
        seen = torch.cat([seen, chunk])
        anchors = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(number))[: config.anchors]]
        with torch.no_grad():
            anchor_codes = signs(hashers.image(material.image[anchors]) + hashers.text(material.text[anchors]))
        if round_done:
            round_done(number, hashers, seen)
    return hashers


def _train_teacher(job: Job) -> Tensor:
    """H^T [m, r], the fused relaxed codes of all training rows."""
    material, config = job.material, job.config
    width = material.teacher_image.shape[1]
    teacher = FusedTeacher(width, job.bits, heads=8, attend=config.attention).to(material.image.device)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        outputs, tokens = teacher(material.teacher_image[rows], material.teacher_text[rows])
        relaxed = torch.tanh(outputs)
        similar = material.similarity(rows, config.neighbours)
        return {
            "likelihood": negative_log_likelihood(half_inner(relaxed, relaxed), similar),
            "quantisation": config.quantisation * quantisation(relaxed),
            "contrast": 0.1 * contrast(tokens[:, 0], tokens[:, 1]),
        }

    job.train("lcdh-teacher", nn.ModuleDict({"teacher": teacher}), loss)
    with torch.no_grad():
        return torch.tanh(teacher(material.teacher_image, material.teacher_text)[0])


def _target(job: Job, teacher: Tensor | None, rows: Tensor, others: Tensor) -> Tensor:
    """S~ in [0, 1]^(rows x others): the logistic of the teacher's Theta, mixed with the labels by `teacher_share`."""
    both = torch.cat([rows, others])
    labels = job.material.similarity(both, job.config.neighbours)[: len(rows), len(rows) :]
    if teacher is None:
        return labels
    share = job.config.teacher_share
    return share * torch.sigmoid(half_inner(teacher[rows], teacher[others])) + (1 - share) * labels


def _round(
    job: Job, hashers: Hashers, teacher: Tensor | None, rows: Tensor, anchors: Tensor, anchor_codes: Tensor
) -> dict[str, Tensor]:
    config = job.config
    image = torch.tanh(hashers.image(job.material.image[rows]))
    text = torch.tanh(hashers.text(job.material.text[rows]))
    target = _target(job, teacher, rows, rows)

    def likelihood(a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        """Theta = (lambda_r / r) a b^T, lambda_r = 4, 8, 10 for 16, 32, 64 bits as in OH-ELS, then 12 (ours)."""
        scale = np.interp(np.log2(job.bits), [4, 5, 6, 7], [4, 8, 10, 12]) / job.bits
        return negative_log_likelihood(float(scale) * a @ b.T, similar)

    terms = {
        "inter": likelihood(image, text, target),
        "intra": config.lambda1 * 0.5 * (likelihood(image, image, target) + likelihood(text, text, target)),
        "quantisation": config.quantisation * quantisation(image, text),
    }
    if len(anchors):
        old = _target(job, teacher, rows, anchors)
        terms["old"] = (
            config.lambda2 * 0.5 * (likelihood(image, anchor_codes, old) + likelihood(text, anchor_codes, old))
        )
    return terms
