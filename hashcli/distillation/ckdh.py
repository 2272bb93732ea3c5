"""CKDH: a CLIP image and graph-attention text teacher, whose similarity matrix a light student learns (TCSVT 2024).

Our reconstruction: of the paper only the abstract could be read. Known from it: the fine-tuned CLIP, the graph
attention over a bag of words, a similarity that joins log-likelihood, intra- and inter-modality similarities, and that
the similarity matrix is what is distilled. Here the teacher's CLIP features are frozen and its head is tuned.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.heads import GraphTextTeacher
from hashcli.distillation.losses import cosine, half_inner, negative_log_likelihood, quantisation
from hashcli.distillation.material import Hashers, Job

Similarities = tuple[Tensor, Tensor]  # S_T in [-1, 1] and P_T in [0, 1], each [n, n]


def distill(job: Job) -> Hashers:
    """The teacher learns from labels (or, without them, its own features); the student from the teacher alone.

    With `distil = false` the student learns from the labels what the teacher would have: the ablation.
    """
    hashers = job.hashers()
    if not job.config.distil:
        job.train(
            "ckdh-without-teacher", hashers.modules(), lambda rows: _student(job, hashers, _labels(job, rows), rows)
        )
        return hashers
    bags = job.material.text
    image_head = job.head(job.material.teacher_image.shape[1])
    text_teacher = GraphTextTeacher(
        bags.shape[1], job.bits, 0.3, job.config.graph_neighbours, attend=job.config.graph_attention
    )
    text_teacher.to(bags.device)
    teacher = nn.ModuleDict({"image": image_head, "text": text_teacher})
    job.train("ckdh-teacher", teacher, lambda rows: _teacher(job, image_head, text_teacher, rows))

    def distilled(rows: Tensor) -> Similarities:
        with torch.no_grad():
            image = torch.tanh(image_head(job.material.teacher_image[rows]))
            text = torch.tanh(text_teacher(bags[rows]))
            across = cosine(image, text)
            similar = 0.25 * cosine(image, image) + 0.25 * cosine(text, text) + 0.25 * (across + across.T)
        return similar, torch.sigmoid(job.config.kappa * job.bits * similar / 2)

    job.train("ckdh-student", hashers.modules(), lambda rows: _student(job, hashers, distilled(rows), rows))
    return hashers


def _teacher(job: Job, image_head: nn.Module, text_teacher: nn.Module, rows: Tensor) -> dict[str, Tensor]:
    similar = job.material.similarity(rows, job.config.neighbours)
    image = torch.tanh(image_head(job.material.teacher_image[rows]))
    text = torch.tanh(text_teacher(job.material.text[rows]))
    return _terms(job, image, text, 2 * similar - 1, similar)


def _student(job: Job, hashers: Hashers, similarities: Similarities, rows: Tensor) -> dict[str, Tensor]:
    image = torch.tanh(hashers.image(job.material.image[rows]))
    text = torch.tanh(hashers.text(job.material.text[rows]))
    return _terms(job, image, text, *similarities)


def _labels(job: Job, rows: Tensor) -> Similarities:
    similar = job.material.similarity(rows, job.config.neighbours)
    return 2 * similar - 1, similar


def _terms(job: Job, image: Tensor, text: Tensor, target: Tensor, probability: Tensor) -> dict[str, Tensor]:
    """The same four terms teach the teacher (target 2S - 1, probability S) and the student (S_T, P_T)."""
    config, mse = job.config, functional.mse_loss
    return {
        "likelihood": config.likelihood * negative_log_likelihood(half_inner(image, text), probability),
        "intra": config.intra * (mse(cosine(image, image), target) + mse(cosine(text, text), target)),
        "inter": config.inter * mse(cosine(image, text), target),
        "quantisation": config.quantisation * quantisation(image, text),
    }
