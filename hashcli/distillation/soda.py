"""SODA: labels as a text modality, a teacher of images and label prompts, then a text student (arXiv 2510.09664).

Our reconstruction: of the paper only the abstract and summaries could be read. Known from them: the label prompt, the
two stages, "directly narrowing the modality gap", and the image's Hamming space as the student's prior knowledge.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.losses import (
    balance,
    gap,
    half_inner,
    negative_log_likelihood,
    quantisation,
    signs,
)
from hashcli.distillation.material import Features, Hashers, Job
from hashcli.errors import HashcliError


def distill(job: Job) -> Hashers:
    """Stage 1 maps images and label prompts into one Hamming space; stage 2 brings the texts into it.

    With `two_stages = false` all three are trained at once, the ablation of the stages; with `distil = false` both
    heads are trained on the labels alone, the ablation without a teacher.
    """
    if job.material.labels is None:
        raise HashcliError(
            "SODA turns labels into prompts, and this dataset has no labels.", "Use --method ckdh or lcdh."
        )
    hashers = job.hashers()
    if not job.config.distil:
        job.train("soda-without-teacher", hashers.modules(), lambda rows: _direct(job, hashers, rows), hashers.encode)
        return hashers

    labels = label_features(job)
    label_head = job.head(labels.shape[1])
    modules = nn.ModuleDict({"image": hashers.image, "label": label_head})
    if not job.config.two_stages:
        modules["text"] = hashers.text

        def joint(rows: Tensor) -> dict[str, Tensor]:
            moving = signs(hashers.image(job.material.image[rows]).detach())
            student = _student(job, hashers, moving, rows)
            teacher = _teacher(job, hashers, label_head, labels, rows)
            return {f"teacher {name}": term for name, term in teacher.items()} | student

        job.train("soda-joint", modules, joint, hashers.encode)
        return hashers

    def image_space(features: Features) -> dict[str, Tensor]:
        """What the teacher leaves behind: the labels' half is not asked for again."""
        return {"image": hashers.image(features.image)}

    job.train("soda-teacher", modules, lambda rows: _teacher(job, hashers, label_head, labels, rows), image_space)
    job.measure.report("soda's teacher", image_space)
    with torch.no_grad():
        codes = signs(hashers.image(job.material.image))  # B^v [m, r]: fixed from here on
    job.train(
        "soda-student",
        nn.ModuleDict({"text": hashers.text}),
        lambda rows: _student(job, hashers, codes[rows], rows),
        hashers.encode,
    )
    return hashers


def label_features(job: Job) -> Tensor:
    """What the label network sees of each row's labels [m, width], by `label_input`."""
    material, config = job.material, job.config
    assert material.labels is not None
    names = [name.replace("_", " ") for name in material.label_names]
    if config.label_input == "classes":
        return material.labels
    if config.label_input == "mean":
        each = material.prompts([config.prompt.replace("{}", name) for name in names])
        return functional.normalize(material.labels @ each)
    template = "{}" if config.label_input == "names" else config.prompt
    return material.prompts(label_prompts(material.labels.cpu(), names, template))


def label_prompts(labels: Tensor, names: list[str], template: str) -> list[str]:
    """One sentence for each row of labels: "a photo of sky, sea and people."; without a template, the names alone."""
    sentences = []
    for row in labels:
        shown = [names[i] for i in row.nonzero().flatten().tolist()]
        listed = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
        sentences.append(" ".join(shown) if template == "{}" else template.replace("{}", listed))
    return sentences


def _teacher(job: Job, hashers: Hashers, label_head: nn.Module, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
    config, similar = job.config, job.material.similarity(rows)
    image, label = torch.tanh(hashers.image(job.material.image[rows])), torch.tanh(label_head(labels[rows]))
    return _pair(image, label, similar) | {
        "gap": config.gap * gap(image, label),
        "quantisation": config.quantisation * quantisation(image, label),
        "balance": config.balance * balance(image, label),
    }


def _student(job: Job, hashers: Hashers, image: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """The text against the image's codes, -1 and +1 [batch, r]."""
    config, similar = job.config, job.material.similarity(rows)
    text = torch.tanh(hashers.text(job.material.text[rows]))
    r = image.shape[1]
    return {
        "likelihood": negative_log_likelihood(half_inner(image, text), similar)
        + 0.5 * negative_log_likelihood(half_inner(text, text), similar),
        "instance": config.instance * gap(text, image),
        "relation": config.relation * ((text @ image.T / r - image @ image.T / r) ** 2).mean(),
        "quantisation": config.quantisation * quantisation(text),
    }


def _direct(job: Job, hashers: Hashers, rows: Tensor) -> dict[str, Tensor]:
    similar = job.material.similarity(rows)
    image = torch.tanh(hashers.image(job.material.image[rows]))
    text = torch.tanh(hashers.text(job.material.text[rows]))
    return _pair(image, text, similar) | {"quantisation": job.config.quantisation * quantisation(image, text)}


def _pair(a: Tensor, b: Tensor, similar: Tensor) -> dict[str, Tensor]:
    return {
        "likelihood": negative_log_likelihood(half_inner(a, b), similar)
        + 0.5 * negative_log_likelihood(half_inner(a, a), similar)
        + 0.5 * negative_log_likelihood(half_inner(b, b), similar)
    }
