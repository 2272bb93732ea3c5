"""The model's card and its model.json."""

from collections.abc import Sequence
from pathlib import Path

from hashcli.hashmodel.description import Description, ImageEncoder, MatchThreshold, ReportedMetric, TextEncoder
from lite_256.data import Data
from lite_256.settings import BITS, CAPTIONS, FOLDS, MAX_TOKENS, NAME, RESIZE, SIZE
from lite_256.words import LABELS, TAGS

CARD = """# lite-256

A hash model for `hashcli`: a photo or an English sentence becomes 256 bits (32 bytes), and a small Hamming distance
means that the sentence fits the photo. Small enough to ship ({megabytes:.0f} MB) and made for a CPU.

**What it is not.** No CLIP weights were used, so do not expect CLIP's breadth. It was trained from two published
models, both Apache-2.0: an EfficientNet-Lite0 trained on ImageNet, and the sentence encoder all-MiniLM-L6-v2.

## How it was made

Both pretrained parts stay frozen. For a photo there are two guesses at the sentence vector of a fitting description.
One is by {folds} small networks, joined into one, on the features of the last layer, of one in the middle, and on the
colours of the photo: histograms of the whole, of where the backbone sees most, and of the middle. They are trained on
photo-caption pairs of two kinds together (InfoNCE), where a photo must also prefer its caption to the same one with
other colours in it, and on photos with labels and tags. The other guess is the mean of ImageNet's class names weighted
by the classifier's probabilities (ConSE, Norouzi et al. 2013). Together they score a sentence: the float teacher, which
leans more on the class names for photos that are unlike those with captions. Two linear layers to {bits} outputs start
from ITQ (Gong & Lazebnik 2011) and learn, through the sign, to rank as that teacher does and to find the right caption:
mostly with one side's floats against the other's signs, as `hashcli search` ranks, and also from the first 64 and 128
bits alone. Bit *i* is 1 where output *i* > 0.

    pip install '.[recipe]'
    python examples/train_lite_256.py --flickr8k DIR --pairs DIR --general-photos DIR --coco-captions FILE \\
        --flickr30k-captions FILE --mirflickr DIR --work DIR --out models/lite-256

| data | used for | licence |
|---|---|---|
| Flickr8k train: {train:,} photos with {captions} captions each | pairs | research, non-commercial |
| {coco_photos:,} photos of COCO train2017 with a caption each | pairs | captions CC BY 4.0, photos research |
| {tagged:,} photos of MIRFlickr-25K with its {labels} labels and {tags} of its tags | words for photos | research |
| {general:,} photos of ADE20K, COCO and ImageNet, without captions | keeping the codes general | research |
| {coco:,} captions of COCO val2017, without photos | sentences to rank | CC BY 4.0 |
| {flickr30k:,} captions of Flickr30k, without photos | sentences to rank | research |
| names and definitions of ImageNet's classes | the second guess | MIT (open_clip), WordNet licence |

## Files

- `image.onnx`: `pixels` uint8 [n, {size}, {size}, 3] RGB, any n -> `output` float32 [n, {bits}]. The backbone's
  convolutions are int8 (weights of 7 bits, so that CPUs without VNNI agree), the rest is float32 arithmetic.
- `text.onnx`, `tokenizer.json`: `input_ids`, `attention_mask` int64 [n, tokens], at most {tokens} tokens -> `output`.
  Weights int8, arithmetic float32. It is stored as a query needs it: open it with graph optimisation off.
- `student.safetensors`: the image backbone, the layers on it and both hash layers for torch. Matrices are float16.
  MiniLM and ImageNet's classifier are stored once, as int8, in `text.onnx` and `image.onnx`.
- `model.json`: what a program needs to know, with the figures below and the digests of the files.

## Measured

On these files through onnxruntime, in per cent. None of the photos or captions below was trained on, but Flickr8k dev,
COCO and MIRFlickr chose the settings, so a set that was never looked at may give a little less. Hamming: plain distance
of the codes, equal distances in database order. Asymmetric: the query's float outputs against the bits of what is
searched. The first 64 or 128 bits of a code are a code too. A caption is to find its photo, or a photo one of its
captions. Own colours: how often a caption that names colours scores higher for its photo than the same caption with
other colours. The labels of MIRFlickr are queries ("a photo of a dog"); its other photos taught the model those same
words.

{tables}

{match}

Of the bits, {image_bits:.1%} (photos) and {text_bits:.1%} (captions) are as float32 weights would have them.

## What was tried and did not pay

{experiments}

## Limits

- It knows ImageNet's 1,000 classes (many dog breeds, tools and animals) and the everyday scenes of Flickr8k (people,
  dogs, sport, beaches). Outside of these it guesses by the nearest thing it knows.
{failures}
{picture}
- English only. Counting, reading, left and right, negation and the names of people or places are beyond it.
- A photo is squeezed into a square of {size} pixels: small things in a large scene are lost.
- Flickr8k, COCO and ImageNet show mostly Western life as English speakers describe it, and their captions guess at
  gender and age. The codes carry that bias. Do not use them to judge or to identify people.

## Licence

For research and non-commercial use, because Flickr8k's photos are. The two pretrained parts alone are Apache-2.0.
"""

EXPERIMENTS = """\
Figures are text-to-image recall@10 on Flickr8k dev, of single runs, often shorter than the recipe's.

- A teacher on the features of Lite0 and Lite2 together: 70.3 as floats, against 69.2 with Lite0 alone. Taught
  to Lite0 by its scores, it made a single projection worse at captions (67.1, against 67.9 without it) and
  better at labels (mAP 52.8 against 48.6), which the mean of the folds gives too.
- Projection and hash layers trained as one from the start: 62.2 asymmetric, against 65.4 in two steps.
- A start that puts the principal directions into the first bits: better at 64 bits (57.9 against 53.8), worse
  at 256 (62.8 against 65.4).
- Class names at a share of 0.17 for all photos: 65.2 asymmetric against 64.2 with 0.2 and, of general photos, 0.45,
  but 73.8 against 75.5 on the 400 general photos. The first version of the model gave them 0.4 everywhere: 62.0 on
  Flickr8k dev, and 78.5 on those 400, which it had seen without their captions.
- Pairs weighted twice and the teacher half: 65.7 against 65.4, but the labels' mAP fell from 55.2 to 53.7.
- Fine-tuning the backbone's last four blocks (8 epochs with the pair loss, class probabilities held in place):
  68.6 as floats against 67.1 with frozen ones, one network each; but the mean of four networks on frozen features
  has 69.2 for a sixth of the time, and on the 400 general photos, with class names, 80.0 against 79.0. From image to
  text fine-tuning lost: 67.4 against 69.4.
- Features of nine parts of a photo: class names from each part, 30.4 against 32.5 from the whole (class names alone);
  their maximum beside their mean, 67.4 against 67.1. The middle layer's mean, 112 numbers, did more: 69.9 against 69.2
  as floats of four networks, 66.0 against 64.6 asymmetric.
- Class names helped by the captions nearest to them, or of the 100 likeliest classes only: within one point.
- A hash layer with a hidden layer for photos: 63.2 asymmetric against 65.4; it learns the training pairs by heart.
- Averaged weights of the hash layers, and twice as many steps: no difference.
- The first 128 bits cost 4.0 points on Flickr8k dev (3.1 from image to text) and 3.0 on the 400 general photos, but 6.0
  there from image to text: 77.0 to 71.0. Eight runs of other settings had 70.5 to 72.8 there, and 66.8 to 71.0 by 128
  bits, so the first figure is high rather than the second low.
- Runs that differ by chance alone lie within about one point on Flickr8k dev, and two on the 400 general photos."""

FAILURES = """\
- What fails most on Flickr8k dev: a thing that is small or read ("a man holds up a cardboard sign near a wall
  with red graffiti" ranks its photo 474th of 1,000), the colour of one thing among others ("the girl with the
  red bike is wearing red pants", 692nd), doings that the training photos lack (a sack race, feeding ducks), and
  captions that fit many photos ("two people are arranged around a horse and its rider"). Captions with "midair",
  "steps", "ramp", "frisbee" or "sign" find their photo among ten in 35 to 44 % of cases, those with "wave", "player"
  or "woods" in more than 90 %.
- Scenes are weaker than things: of MIRFlickr's labels the best are plants, sky, flowers and buildings (average
  precision 0.73 to 0.78), the worst lake (0.08), indoor (0.28), night (0.31) and sunset (0.37).
- Captions that name someone's origin do badly too: with "Asian", 41 % find their photo, against 65 % of all."""

FAILURES_FILE = "failures.jpg"
PICTURE = """\
- Of {asked} pictures of scikit-image's that are free to show, each asked for in a few words, {failed} do not come
  first. Each row has the three that did, and at its end the one that was meant:

  ![Texts whose photo does not come first]({file})

  They are by NASA, SpaceX and photographers who gave them away: in the public domain or under CC0, as scikit-image's
  documentation says of each.
"""

MATCH = """A caption's own photo is within {distance} bits for {hit:.1%} of the captions of half of Flickr8k dev (the
other half chose the distance). The same distance kept 94 % of the photos that fit short queries such as "a dog" (among
400 held-out photos), and hid three photos of four. It does not tell that nothing fits: of captions asked of {photos:,}
MIRFlickr photos, which they do not describe, {false_alarm_rate:.1%} find a photo as near. The area under the ROC curve
of the nearest photo's distance, as a sign that the own photo is there, is {area:.2f} (1 is certain, 0.5 is a coin)."""


def card(
    metrics: Sequence[ReportedMetric],
    match: tuple[MatchThreshold, float],
    data: Data,
    bits_equal: tuple[float, float],
    failed: tuple[int, int],
    folder: Path,
) -> str:
    return CARD.format(
        megabytes=sum(file.stat().st_size for file in folder.iterdir()) / 1e6,
        folds=FOLDS,
        train=len(data.photos["train"]),
        captions=CAPTIONS["train"],
        bits=BITS,
        general=len(data.photos["general"]),
        coco_photos=len(data.photos["coco"]),
        tagged=len(data.photos["tagged"]),
        labels=len(LABELS),
        tags=len(TAGS),
        coco=len(data.texts["coco captions"]),
        flickr30k=len(data.texts["flickr30k captions"]),
        size=SIZE,
        tokens=MAX_TOKENS,
        tables=tables(metrics),
        match=tell_match(*match),
        experiments=EXPERIMENTS,
        failures=FAILURES,
        picture=PICTURE.format(file=FAILURES_FILE, failed=failed[0], asked=failed[1]),
        image_bits=bits_equal[0],
        text_bits=bits_equal[1],
    )


def tables(metrics: Sequence[ReportedMetric]) -> str:
    """A table for each dataset: a row for each way to rank, a column for each figure; the last row is chance."""
    lines = []
    for dataset in dict.fromkeys(metric.dataset for metric in metrics):
        measured = {metric.name: metric for metric in metrics if metric.dataset == dataset}
        columns = list(dict.fromkeys(name.partition(", ")[0] for name in measured))
        ways = list(dict.fromkeys(name.partition(", ")[2] for name in measured))
        lines += [f"| {dataset} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for way in ways:
            values = [f"{100 * measured[f'{column}, {way}'].value:.1f}" for column in columns]
            lines.append(f"| {way} | {' | '.join(values)} |")
        chances = [f"{100 * measured[f'{column}, {ways[0]}'].chance:.1f}" for column in columns]
        lines += [f"| chance | {' | '.join(chances)} |", ""]
    return "\n".join(lines[:-1])


def tell_match(match: MatchThreshold, area: float) -> str:
    return MATCH.format(
        distance=match.distance,
        hit=1 - match.miss_rate,
        photos=match.photos,
        false_alarm_rate=match.false_alarm_rate,
        area=area,
    )


def describe(metrics: list[ReportedMetric], match: MatchThreshold) -> Description:
    return Description(
        name=NAME,
        bits=BITS,
        method="linear hash layers from ITQ, trained through the sign to rank as a float teacher does, at every length",
        teacher="EfficientNet-Lite0 (ImageNet) projected onto all-MiniLM-L6-v2 on Flickr8k, joined with ConSE; no CLIP",
        licence="research, non-commercial (Flickr8k)",
        image=ImageEncoder(file="image.onnx", size=SIZE, resize=RESIZE),
        text=TextEncoder(file="text.onnx", tokenizer="tokenizer.json", max_tokens=MAX_TOKENS),
        metrics=metrics,
        match=match,
    )
