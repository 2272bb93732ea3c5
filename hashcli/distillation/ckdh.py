"""CKDH: a CLIP image and graph-attention text teacher, whose similarity matrix a light student learns (TCSVT 2024).

Our reconstruction: of the paper only the abstract could be read. Known from it: the fine-tuned CLIP, the graph
attention over a bag of words, a similarity that joins log-likelihood, intra- and inter-modality similarities, and that
the similarity matrix is what is distilled. Here CLIP is fine-tuned within the teacher's stage, by the teacher's loss,
where `tune_teacher` says so; else its features are frozen and its head alone learns.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.heads import GraphTextTeacher
from hashcli.distillation.losses import cosine, cosine_target, half_inner, negative_log_likelihood, quantisation
from hashcli.distillation.material import Features, Hashers, Job
from hashcli.distillation.tuning import TunedTower

Similarities = tuple[Tensor, Tensor]  # S_T in [-1, 1] and P_T in [0, 1], each [n, n]


def distill(job: Job) -> Hashers:
    """The teacher learns from labels (or, without them, its own features); the student from the teacher alone.

    With `distil = false` the student learns from the labels what the teacher would have: the ablation.
    """
    hashers = job.hashers()
    similarities = _teacher(job) if job.config.distil else lambda rows: _labels(job, rows)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        image = torch.tanh(hashers.image(job.material.image[rows]))
        text = torch.tanh(hashers.text(job.material.text[rows]))
        return _terms(job, image, text, *similarities(rows))

    name = "ckdh-student" if job.config.distil else "ckdh-without-teacher"
    job.train(name, hashers.modules(), loss, hashers.encode)
    return hashers


def _teacher(job: Job) -> Callable[[Tensor], Similarities]:
    """Train the teacher; it tells of some rows how similar they are."""
    material, config = job.material, job.config
    image_head = job.head(material.teacher_image.shape[1])
    width = material.text.shape[1]
    text_teacher = GraphTextTeacher(width, job.bits, 0.3, config.graph_neighbours, attend=config.graph_attention)
    text_teacher.to(material.text.device)
    modules = nn.ModuleDict({"image": image_head, "text": text_teacher})
    tower = None
    if material.teacher_tower:  # a copy: each code length tunes it anew
        modules["tower"] = tower = TunedTower(copy.deepcopy(material.teacher_tower), config.tune_teacher)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        if tower:
            seen = tower([material.photos[place] for place in material.photo[rows].tolist()])
        else:
            seen = material.teacher_image[rows]
        image, text = torch.tanh(image_head(seen)), torch.tanh(text_teacher(material.text[rows]))
        return _terms(job, image, text, *_labels(job, rows))

    def encode(features: Features) -> dict[str, Tensor]:
        """A text's neighbours are those of its batch, as in training: its code is not its own alone."""
        seen = tower.features(features.photos) if tower else features.teacher_image
        texts = [text_teacher(batch) for batch in features.text.split(config.batch)]
        return {"image": image_head(seen), "text": torch.cat(texts)}

    job.train("ckdh-teacher", modules, loss, encode, tower_rate=config.tune_learning_rate)
    job.measure.report("ckdh's teacher", encode)
    with torch.no_grad():
        tuned = tower.features(material.photos)[material.photo] if tower else material.teacher_image
        image_codes = torch.tanh(image_head(tuned))

    def similarities(rows: Tensor) -> Similarities:
        """S_T of what the teacher makes of image with image, text with text, and one with the other."""
        with torch.no_grad():
            image, text = image_codes[rows], torch.tanh(text_teacher(material.text[rows]))
            across = cosine(image, text)
            similar = 0.25 * cosine(image, image) + 0.25 * cosine(text, text) + 0.25 * (across + across.T)
        return similar, torch.sigmoid(config.kappa * job.bits * similar / 2)

    return similarities


def _labels(job: Job, rows: Tensor) -> Similarities:
    similar = job.material.similarity(rows)
    return cosine_target(similar, job.material.balanced), similar


def _terms(job: Job, image: Tensor, text: Tensor, target: Tensor, probability: Tensor) -> dict[str, Tensor]:
    """The same four terms teach the teacher (target 2S - 1, probability S) and the student (S_T, P_T)."""
    config, mse = job.config, functional.mse_loss
    return {
        "likelihood": config.likelihood
        * negative_log_likelihood(half_inner(image, text), probability, job.material.balanced),
        "intra": config.intra * (mse(cosine(image, image), target) + mse(cosine(text, text), target)),
        "inter": config.inter * mse(cosine(image, text), target),
        "quantisation": config.quantisation * quantisation(image, text),
    }
