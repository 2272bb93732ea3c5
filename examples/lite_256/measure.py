"""Metrics and checks of the finished folder."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.numpy import load_file
from torch import Tensor

from hashcli.distillation.losses import signs
from hashcli.evaluation.ranking import chance_of_average_precision
from hashcli.hashmodel.description import MatchThreshold, ReportedMetric
from hashcli.hashmodel.images import load_pixels
from lite_256.data import MIRFLICKR_PHOTOS, Data
from lite_256.folder import Head, Outputs
from lite_256.hash_layers import ImageHead, TextHead
from lite_256.image_tower import Backbone, open_session
from lite_256.settings import BITS, MAX_TOKENS, PREFIXES, RESIZE, SIZE
from lite_256.text_tower import TextGraph, load_tokenizer, minilm_folder, run_text

Score = Callable[[Tensor, Tensor], Tensor]  # queries [m, bits], what is searched [n, bits] -> [m, n]


def hamming_score(queries: Tensor, searched: Tensor) -> Tensor:
    return signs(queries) @ signs(searched).T  # bits - 2 * distance


def asymmetric_score(queries: Tensor, searched: Tensor) -> Tensor:
    return queries @ signs(searched).T


def float_score(queries: Tensor, searched: Tensor) -> Tensor:
    return queries @ searched.T


SCORES = {"asymmetric": asymmetric_score, "Hamming": hamming_score}


def photo_rank(scores: Tensor) -> Tensor:
    """How many photos come before the right one, [captions], of scores [captions, photos].

    Ties come in the order of columns.
    """
    right = photo_of_caption(scores)[:, None]
    own = scores.gather(1, right)
    earlier = torch.arange(scores.shape[1])[None] < right
    return (scores > own).sum(1) + ((scores == own) & earlier).sum(1)


def photo_of_caption(scores: Tensor) -> Tensor:
    """The column of the right photo of each row of scores [captions, photos]."""
    captions, photos = scores.shape
    return torch.arange(photos).repeat_interleave(captions // photos)


def caption_rank(scores: Tensor) -> Tensor:
    """How many captions come before the first right one, [photos], of scores [photos, captions]. Ties likewise."""
    order = scores.argsort(stable=True, dim=1, descending=True) // (scores.shape[1] // scores.shape[0])
    return (order == torch.arange(len(scores))[:, None]).int().argmax(1)


def recall(ranks: Tensor, at: int) -> float:
    return (ranks < at).double().mean().item()


def mean_average_precision(scores: Tensor, relevant: Tensor) -> float:
    """mAP over all columns, of the rows of both [queries, photos]. Ties come in the order of columns."""
    ranked = relevant.gather(1, scores.argsort(stable=True, dim=1, descending=True)).double()
    precision = ranked.cumsum(1) / torch.arange(1, ranked.shape[1] + 1)
    return ((precision * ranked).sum(1) / ranked.sum(1)).mean().item()


def measure(outputs: Outputs, teacher: Outputs, data: Data) -> list[ReportedMetric]:
    """The codes cut to each length and ranked both ways; then the float teacher."""
    metrics = []
    for bits in reversed(PREFIXES):
        for name, score in SCORES.items():
            metrics += measure_one(f"{bits} bits, {name}", score, first_bits(outputs, bits), data)
    return [*metrics, *measure_one("float teacher", float_score, teacher, data)]


def first_bits(outputs: Outputs, bits: int) -> Outputs:
    images, texts = ({part: rows[:, :bits] for part, rows in sets.items()} for sets in (outputs.images, outputs.texts))
    return Outputs(images, texts)


DATASETS = {
    "dev": "Flickr8k dev, 1,000 photos, 5 captions each",
    "held out": "COCO, {photos} photos that were held out, a caption each",
}


def measure_one(way: str, score: Score, outputs: Outputs, data: Data) -> list[ReportedMetric]:
    metrics = []
    for part, dataset in DATASETS.items():
        images, texts = outputs.images[part], outputs.texts[part]
        photos, captions = len(images), len(texts)
        by_text, by_image = score(texts, images), score(images, texts)
        ranks = photo_rank(by_text)
        metrics += [
            (f"text-to-image recall@{at}", dataset.format(photos=photos), recall(ranks, at), at / photos)
            for at in (1, 10)
        ]
        chance = 1 - math.comb(captions - captions // photos, 10) / math.comb(captions, 10)
        metrics.append(
            ("image-to-text recall@10", dataset.format(photos=photos), recall(caption_rank(by_image), 10), chance)
        )
        metrics.append(("own colours", dataset.format(photos=photos), own_colours(score, outputs, part, data), 0.5))
    relevant = torch.from_numpy(data.labels).T
    value = mean_average_precision(score(outputs.texts["queries"], outputs.images["mirflickr"]), relevant)
    dataset = f"MIRFlickr-25K, its first {MIRFLICKR_PHOTOS:,} photos, {len(relevant)} labels as words"
    chance = float(chance_of_average_precision(relevant.sum(1).numpy(), MIRFLICKR_PHOTOS).mean())
    metrics.append(("text-to-image mAP@all", dataset, value, chance))
    return [
        ReportedMetric(f"{name}, {way}", dataset, round(value, 4), round(chance, 4))
        for name, dataset, value, chance in metrics
    ]


def own_colours(score: Score, outputs: Outputs, part: str, data: Data) -> float:
    """How often a caption with colours in it scores higher for its photo than the same caption with other colours."""
    has_colours = torch.tensor([bool(text) for text in data.texts[f"{part}, other colours"]])
    scores, others = (score(outputs.texts[name], outputs.images[part]) for name in (part, f"{part}, other colours"))
    photos = photo_of_caption(scores)[:, None]
    return (scores.gather(1, photos) > others.gather(1, photos))[has_colours].double().mean().item()


def measure_match(outputs: Outputs) -> tuple[MatchThreshold, float]:
    """The distance within which 98 % of captions have their own photo, and how well it shows that there is none.

    Not 95 %: a short query ("a dog") lies further from its photos than a caption does.

    The distance comes from every second photo's captions, the rates from the others'. Captions of Flickr8k dev stand
    for texts that describe none of MIRFlickr's photos. The second value is the area under the ROC curve of the nearest
    photo's distance, as a sign of whether a caption's own photo is among those searched.
    """
    texts, images, strangers = outputs.texts["dev"], outputs.images["dev"], outputs.images["mirflickr"]
    distances = (BITS - hamming_score(texts, images)) / 2
    nearest, stranger = distances.amin(1), ((BITS - hamming_score(texts, strangers)) / 2).amin(1)
    photos = photo_of_caption(distances)
    own = distances[torch.arange(len(texts)), photos]
    chosen, judged = photos % 2 == 0, photos % 2 == 1
    limit = int(own[chosen].quantile(0.98, interpolation="higher"))
    miss_rate = (own[judged] > limit).double().mean().item()
    false_alarm_rate = (stranger[judged] <= limit).double().mean().item()
    both = nearest[judged][:, None] - stranger[judged][None]
    area = ((both < 0).double() + (both == 0).double() / 2).mean().item()
    return MatchThreshold(limit, round(miss_rate, 4), round(false_alarm_rate, 4), len(strangers)), area


def check_graphs(outputs: Outputs, heads: Outputs) -> None:
    """The graphs must give what torch gives for the same features and sentence vectors."""
    compared = [(outputs.images["dev"], heads.images["dev"]), (outputs.texts["dev"], heads.texts["dev"])]
    for kind, (graph, module) in zip(("image", "text"), compared, strict=True):
        worst = (graph - module).abs().max().item()
        print(f"{kind}.onnx and torch differ by at most {worst:.1e}")
        if worst > 1e-4:
            raise SystemExit(f"{kind}.onnx does not compute what was trained.")


def equal_bits(outputs: Outputs, images: ImageHead, texts: TextHead, data: Data, work: Path) -> tuple[float, float]:
    """The share of bits that int8 weights leave as float32 weights have them, of 200 photos and of 1,000 captions."""
    photos = data.photos["dev"][:200]
    pixels = torch.from_numpy(np.stack([load_pixels(path, SIZE, RESIZE) for path in photos]))
    exact = TextGraph(load_file(minilm_folder() / "model.safetensors"), exact=True)
    onnx.save(exact.model(exact.hashed(texts), BITS), work / "text.exact.onnx")
    tokenizer = load_tokenizer()
    tokenizer.enable_truncation(MAX_TOKENS)
    captions = run_text(open_session(work / "text.exact.onnx"), tokenizer, data.texts["dev"][:1000])
    backbone, head = Backbone().eval(), Head(images)
    with torch.no_grad():
        codes = torch.cat([head(*backbone(pixels[i : i + 20])) for i in range(0, len(pixels), 20)])
    return (
        ((codes > 0) == (outputs.images["dev"][:200] > 0)).float().mean().item(),
        ((torch.from_numpy(captions) > 0) == (outputs.texts["dev"][:1000] > 0)).float().mean().item(),
    )


def bit_health(outputs: Tensor) -> str:
    codes = signs(outputs)
    correlation = torch.corrcoef(codes.T) - torch.eye(BITS)
    return (
        f"a bit is 1 for {(codes > 0).float().mean(0).min():.0%} to {(codes > 0).float().mean(0).max():.0%} of them, "
        f"mean |correlation| of two bits {correlation.abs().sum() / (BITS * (BITS - 1)):.3f}, "
        f"mean |output| {outputs.abs().mean():.2f}"
    )
