"""Train `models/lite-256` again: photos and words as 256-bit codes, from ImageNet features and sentence vectors.

    pip install '.[recipe]'
    python examples/train_lite_256.py --flickr8k DIR --pairs DIR --general-photos DIR --coco-captions FILE \\
        --flickr30k-captions FILE --mirflickr DIR --work DIR --out models/lite-256

No GPU is needed: some forty minutes on two cores. Every slow stage leaves its result in --work, so a run that
was stopped goes on where it was; give an empty --work to begin anew. The parts are in `lite_256/` beside this file,
and every choice in `lite_256/settings.py`.

How the model is made. MiniLM turns a sentence into a vector t; that is never trained, but a small network m(t) moves it
to where photos are, and learns besides to tell two captions of one photo from those of others. For a photo there are
two guesses at the vector of a sentence that would describe it, both from the features of a frozen EfficientNet-Lite0,
the mean over the photo of its last layer's and of those of one in the middle; the first one also from the photo's
colours:

  a  the mean of four networks of one hidden layer, each trained on three quarters of the photo-caption pairs of
     Flickr8k and COCO together to tell the right caption from others (the symmetric InfoNCE loss: van den Oord et al.
     2018, Radford et al. 2021), among them the right one with other colours in it; and on MIRFlickr's labels and tags,
     to tell the photos that a word fits from others;
  c  the mean of the vectors of the 1,000 ImageNet class names, weighted by the classifier's probabilities (ConSE:
     Norouzi et al. 2013). It knows things that no caption shows, and nothing of how they are arranged.

sqrt(1 - w) <a, m(t)> + sqrt(w) <c, t> is the teacher, with more of c for photos without captions. Two linear hash
layers, [a, c] -> 256 and [m(t), t] -> 256, start from the teacher's principal directions, rotated so that signs lose
little (ITQ: Gong & Lazebnik 2011), and are then trained on the signs themselves to rank as the teacher does, to find
the right caption, to prefer its own colours, and to find the photos that a word fits.
"""

import argparse
import os
import shutil
from dataclasses import fields
from functools import partial
from pathlib import Path

import torch
from lite_256.card import FAILURES_FILE, card, describe
from lite_256.data import CLASS_TEXTS, Data, Sources, cached, read_data
from lite_256.failures import draw_failures
from lite_256.folder import MEASURED_PHOTOS, MEASURED_TEXTS, Outputs, run_folder, write_folder
from lite_256.hash_layers import HashPairs, HashTrainingSet, ImageHead, TextHead, load_hash, train_hash
from lite_256.image_tower import export_backbone, image_features
from lite_256.measure import bit_health, check_graphs, equal_bits, measure, measure_match
from lite_256.projections import (
    TextTrainingSet,
    class_names,
    fit_projections,
    fit_text_map,
    make_guesses,
    make_projection_training_set,
    teacher_photos,
    teacher_sentences,
    unit,
)
from lite_256.settings import CLASS_SHARE, FIVE, PAIRS, WIDTH
from lite_256.text_tower import sentence_vectors


def train(data: Data, work: Path, seed: int) -> tuple[ImageHead, TextHead, Path, Outputs, Outputs]:
    """The trained heads, the backbone, and the outputs of heads and teacher for the sets to measure on."""
    print("Sentence vectors", flush=True)
    sentences = sentence_vectors(data, work)
    print("Image features", flush=True)
    backbone = export_backbone(data, work, seed)
    features = image_features(data, backbone, work, seed)
    centre = (sentences["train"].mean(0) + sentences["coco captions"].mean(0)) / 2
    centred = {
        part: torch.where(vectors.any(1, keepdim=True), unit(vectors - centre), 0)
        for part, vectors in sentences.items()
    }
    loose = [
        centred["coco captions"],
        centred["flickr30k captions"],
        torch.cat([centred[part] for part in CLASS_TEXTS]),
    ]
    words = torch.from_numpy(data.words)
    print("Projections", flush=True)
    projection_set = make_projection_training_set(features, centred, words)
    captions = torch.cat([centred[part].view(-1, 5, WIDTH) for part in FIVE])
    text_map = fit_text_map(projection_set, TextTrainingSet(torch.cat(loose), captions), work, seed)
    folds = fit_projections(projection_set, text_map, work, seed)
    guesses, guessed = make_guesses(features, class_names(sentences), folds)
    images, texts = ImageHead(guesses), TextHead(centre, text_map)
    print("Hash layers", flush=True)
    in_both = partial(teacher_sentences, text_map=text_map)
    pairs = {
        part: HashPairs(
            guessed[part],
            in_both(centred[part]),
            in_both(centred[f"{part}, other colours"]),
        )
        for part in PAIRS
    }
    hash_set = HashTrainingSet(
        pairs,
        guessed["general"],
        guessed["tagged"],
        words,
        in_both(projection_set.words),
        [in_both(vectors) for vectors in loose],
    )
    fit = partial(train_hash, images.hash, texts.hash, hash_set, seed)
    load_hash(images.hash, texts.hash, cached(work / "hash.npy", fit))
    with torch.no_grad():
        heads = Outputs(
            {part: images(features[part][0]) for part in MEASURED_PHOTOS},
            {part: texts(sentences[part]) for part in MEASURED_TEXTS},
        )
    share = {"dev": CLASS_SHARE["train"], "held out": CLASS_SHARE["coco"], "mirflickr": CLASS_SHARE["general"]}
    teacher = Outputs(
        {part: teacher_photos(guessed[part][0], share[part]) for part in MEASURED_PHOTOS},
        {part: in_both(centred[part]) for part in MEASURED_TEXTS},
    )
    return images, texts, backbone, heads, teacher


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train models/lite-256 again. The file's first lines say how it works."
    )
    parser.add_argument("--flickr8k", type=Path, required=True, help="folder of Flickr8k in its classic layout")
    parser.add_argument(
        "--pairs",
        type=Path,
        required=True,
        help="folder of photos with captions.jsonl: image and text on each line",
    )
    parser.add_argument("--general-photos", type=Path, required=True, help="folder of .jpg photos of anything")
    left_out = Path(__file__).parent / "lite_256" / "left_out.txt"
    parser.add_argument(
        "--left-out", type=Path, default=left_out, help="lists those of them to leave out, a path a line"
    )
    parser.add_argument("--coco-captions", type=Path, required=True, help="captions in COCO's JSON layout")
    parser.add_argument("--flickr30k-captions", type=Path, required=True, help="a file with a caption on each line")
    parser.add_argument("--mirflickr", type=Path, required=True, help="MIRFlickr-25K: mirflickr/ and its annotations")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way; 1 GB")
    parser.add_argument("--out", type=Path, required=True, help="the hash model folder to write or replace")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    work = arguments.work / f"seed-{arguments.seed}"
    work.mkdir(parents=True, exist_ok=True)
    data = read_data(Sources(**{field.name: getattr(arguments, field.name) for field in fields(Sources)}))
    images, texts, backbone, heads, teacher = train(data, work, arguments.seed)
    print("The folder", flush=True)
    part = arguments.out.with_name(f".{arguments.out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_folder(images, texts, backbone, data, part)
    outputs = run_folder(part, data)
    check_graphs(outputs, heads)
    metrics, match = measure(outputs, teacher, data), measure_match(outputs)
    print("Photos:", bit_health(outputs.images["dev"]))
    print("Captions:", bit_health(outputs.texts["dev"]))
    bits_equal = equal_bits(outputs, images, texts, data, work)
    failed = draw_failures(part, part / FAILURES_FILE)
    (part / "README.md").write_text(card(metrics, match, data, bits_equal, failed, part), encoding="utf-8")
    describe(metrics, match[0]).write(part)
    shutil.rmtree(arguments.out, ignore_errors=True)
    part.rename(arguments.out)
    for metric in metrics:
        print(f"{100 * metric.value:5.1f} (chance {100 * metric.chance:.1f})  {metric.name}  [{metric.dataset}]")


if __name__ == "__main__":
    main()
