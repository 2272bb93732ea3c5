"""LCDH: an attention-fused CLIP teacher, and a light student trained online on a stream (arXiv 2502.19751, AAAI-25).

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: CLIP features fused by
attention and a fully connected layer, the teacher's similarity approximated by the online student through a logistic
likelihood, two weights lambda1 and lambda2 (what they weigh is our guess), and the rounds of a stream. The teacher is
trained on the whole training set before the stream begins. After each round the anchors' codes are made anew by the
student, as the database is in the end, so that old codes may change; in an update (student.py) they stay.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from hashcli.distillation.heads import FusedTeacher
from hashcli.distillation.losses import contrast, half_inner, negative_log_likelihood, quantisation, signs
from hashcli.distillation.material import Features, Hashers, Job


def distill(job: Job) -> Hashers:
    """Train the teacher, then the student chunk by chunk; of old data only a few anchors are kept.

    With `distil = false` the student's similarities are the labels alone: the ablation.
    """
    hashers, material, config = job.hashers(), job.material, job.config
    teacher = _train_teacher(job) if config.distil else None
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(material), generator=generator)
    priority = torch.rand(len(material), generator=generator)
    anchors = seen = order[:0]  # rows
    anchor_codes = torch.empty(0, job.bits, device=material.image.device)
    rounds = max(1, min(config.rounds, len(order) // 2))  # one row alone has no pairs
    for number, chunk in enumerate(order.tensor_split(rounds), start=1):

        def loss(rows: Tensor, anchors: Tensor = anchors, anchor_codes: Tensor = anchor_codes) -> dict[str, Tensor]:
            return _round(job, hashers, teacher, rows, anchors, anchor_codes)

        seen = torch.cat([seen, chunk])
        passes = math.ceil(config.round_steps / math.ceil(len(chunk) / config.batch))
        job.train(
            f"lcdh-round-{number}",
            hashers.modules(),
            loss,
            hashers.encode,
            rows=chunk,
            seen=seen,
            epochs=passes,
        )
        job.measure.report_validation(f"validation, round {number}", hashers.encode, seen)
        # A reservoir: an even sample of all that was seen, and who has left it does not come back.
        kept = torch.cat([anchors, chunk])
        anchors = kept[priority[kept].argsort()[: config.anchors]]
        with torch.no_grad():
            image, text = (
                torch.tanh(hashers.image(material.image[anchors])),
                torch.tanh(hashers.text(material.text[anchors])),
            )
            anchor_codes = signs(image + text)
    return hashers


def _train_teacher(job: Job) -> Tensor:
    """H^T [m, r], the fused relaxed codes of all training rows."""
    material, config = job.material, job.config
    width = material.teacher_image.shape[1]
    teacher = FusedTeacher(width, job.bits, heads=8, attend=config.attention).to(material.image.device)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        outputs, tokens = teacher(material.teacher_image[rows], material.teacher_text[rows])
        relaxed = torch.tanh(outputs)
        return {
            "likelihood": negative_log_likelihood(
                half_inner(relaxed, relaxed), material.similarity(rows), material.balanced
            ),
            "quantisation": config.quantisation * quantisation(relaxed),
            "contrast": config.contrast * contrast(tokens[:, 0], tokens[:, 1]),
        }

    def encode(features: Features) -> dict[str, Tensor]:
        return {"pair": teacher(features.teacher_image[features.photo_of], features.teacher_text)[0]}

    job.train("lcdh-teacher", nn.ModuleDict({"teacher": teacher}), loss, encode)
    job.measure.report("lcdh's teacher", encode)
    with torch.no_grad():
        return torch.tanh(teacher(material.teacher_image, material.teacher_text)[0])


def _target(job: Job, teacher: Tensor | None, rows: Tensor, others: Tensor) -> Tensor:
    """S~ in [0, 1]^(rows x others): the logistic of the teacher's Theta, mixed with the labels by `teacher_share`."""
    labels = job.material.similarity(rows, others)
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
        return negative_log_likelihood(float(scale) * a @ b.T, similar, job.material.balanced)

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
