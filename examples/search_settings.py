"""Search the settings of a method, on validation photos alone: the query set is never evaluated.

    pip install '.[train]'
    python examples/search_settings.py --dataset mirflickr --root DIR --teacher lite-256 --method ckdh \\
        --try kappa=0.5,1,2 --try learning_rate=1e-3,3e-4 --out runs/search.jsonl

All combinations of the values are tried, or with --random N, N of them, drawn at random. Photos and texts are encoded
once, and the features are those that `hashcli distill` keeps. Each combination and seed is a line of --out: started
again, the command tries only what has no line yet, so that a search can be stopped, and made larger. At the end, the
table has all combinations asked for, the best first: the validation metric by direction, as a mean over the seeds.

The validation photos are queries in a database of the training photos, a tenth and the rest of the protocol's training
set. The best of many settings is better there than it will be elsewhere, the more so the more were tried.
"""

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import Split, make_split
from hashcli.distillation.evaluator import Reports, SplitEvaluator
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.features import (
    Features,
    UsedItems,
    check_vectors,
    choose_vocabulary,
    distinct_words,
    encode_for_teacher,
    encode_photos,
    encode_texts,
    make_supervised_rows,
    make_training_set,
)
from hashcli.distillation.open_towers import choose_device, open_towers
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.settings import Settings
from hashcli.distillation.trainer import Encoder, Method, Trainer
from hashcli.errors import HashcliError

SHOWN = ("mAP@all", "recall@10")  # with labels, and without

Result = dict[str, Any]  # a line of --out


class ValidationEvaluator(SplitEvaluator):
    """Evaluates validation photos, and never the query set."""

    def report(self, what: str, encode: Encoder) -> None:
        return

    def report_stream(self, what: str, encode: Encoder, seen: Tensor, stored: Tensor | None) -> None:
        return


@dataclass(frozen=True)
class Search:
    """What is the same in all combinations. `splits` has one for each seed, and `bits` is one code length."""

    dataset: ImageTextDataset
    splits: dict[int, Split]
    method: str
    teacher: str | None
    bits: int
    assignments: tuple[str, ...]

    def settings(self, combination: dict[str, str], seed: int) -> Settings:
        tried = [f"{name}={value}" for name, value in combination.items()]
        values: dict[str, Any] = {
            "method": self.method,
            "teacher": self.teacher,
            "bits": self.bits,
            "seed": seed,
            "validate_every": 0,
        }
        settings = resolve_settings(assignments=[*self.assignments, *tried], **values)
        if settings.tune_student != "head":
            raise HashcliError("A student's tower that is tuned cannot be searched over: its features would change.")
        return settings

    def train(self, settings: Settings) -> Reports:
        """Train one combination with one seed. Gives the metrics of the validation photos, by direction."""
        device = choose_device(settings.device)
        dataset, split = self.dataset, self.splits[settings.seed]
        method = load_method(settings.method)
        assert isinstance(method, Method)
        towers = open_towers(settings, device)
        method.check(settings, dataset, towers.teacher_image)
        items = UsedItems.of_split(dataset, split)
        check_vectors(items, towers)
        cache = FeatureCache(user_cache_path("hashcli") / "features", dataset.name, lambda count: None)
        teacher = encode_for_teacher(items, towers, cache)
        vocabulary = distinct_words(choose_vocabulary(dataset, split, settings), towers.student_text)
        text = encode_texts(items, towers, vocabulary, cache)
        image = encode_photos(items, towers.student_image, cache)
        features = Features(items.photos, torch.from_numpy(items.photo_of), teacher.image, teacher.text, image, text)
        training_set = make_training_set(
            make_supervised_rows(items, dataset, teacher, settings), items, features, towers
        )
        found: Reports = {}
        evaluator = ValidationEvaluator(
            dataset, split, items, features.to(device), lambda what, reports: found.update(reports)
        )
        trainer = Trainer(training_set.to(device), settings, self.bits, None, lambda epoch: None, evaluator)
        heads = method.train(trainer)
        evaluator.report_validation("validation", heads.encode)
        return found

    def key(self, combination: dict[str, str], seed: int) -> Result:
        """What a line of --out is found by."""
        version = load_method(self.method).version
        return {
            "settings": self.settings(combination, seed).to_json(),
            "method_version": version,
            "split": self.splits[seed].checksum,
        }


def main() -> None:
    options = parse_arguments()
    if not isinstance(load_method(options.method), Method):
        sys.exit(f"{options.method} has no validation photos: it learns from no pairs.")
    dataset = load_dataset(options.dataset, options.root, options.protocol)
    splits = {seed: make_split(dataset, seed, options.protocol) for seed in options.seeds}
    search = Search(dataset, splits, options.method, options.teacher, options.bits, tuple(options.set))
    chosen = list(combinations(options.tried, options.random))
    wanted = [(one, search.key(one, seed)) for one in chosen for seed in options.seeds]  # refuses a wrong value now
    done = read_lines(options.out)
    for number, (combination, key) in enumerate(wanted, start=1):
        if any(key.items() <= line.items() for line in done):
            continue
        started = time.process_time()
        settings = search.settings(combination, key["settings"]["seed"])
        reports = search.train(settings)
        metrics = {
            direction: metric.value
            for direction, report in reports.items()
            for metric in report.metrics
            if metric.name in SHOWN
        }
        line = key | {"validation": metrics, "cpu_seconds": round(time.process_time() - started, 1)}
        done.append(line)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        values = ", ".join(f"{direction} {value:.4f}" for direction, value in metrics.items())
        print(f"{number} of {len(wanted)}: {named(combination)}, seed {settings.seed}: {values}", file=sys.stderr)
    print_table(chosen, wanted, done)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a dataset's name, or a file or folder of your own")
    parser.add_argument("--root", type=Path, help="the folder of the dataset's official files")
    parser.add_argument("--protocol", help="the dataset's first")
    parser.add_argument("--method", default="soda")
    parser.add_argument("--teacher")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0])
    parser.add_argument("--try", dest="tried", type=values_of, action="append", default=[], metavar="NAME=V1,V2,...")
    parser.add_argument("--random", type=int, metavar="N", help="try N of the combinations, drawn at random")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="the same in all combinations")
    parser.add_argument("--out", type=Path, default=Path("runs/search.jsonl"))
    return parser.parse_args()


def values_of(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=V1,V2,...")
    return name, values.split(",")


def combinations(tried: Sequence[tuple[str, list[str]]], drawn: int | None) -> Iterator[dict[str, str]]:
    """All combinations of the values, or that many of them, the same ones each time."""
    names = [name for name, _ in tried]
    every = [dict(zip(names, values, strict=True)) for values in itertools.product(*(values for _, values in tried))]
    yield from every if drawn is None or drawn >= len(every) else random.Random(0).sample(every, drawn)


def read_lines(path: Path) -> list[Result]:
    """The lines of a search; a last one cut off by a kill is passed over."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def print_table(
    chosen: Sequence[dict[str, str]], wanted: Sequence[tuple[dict[str, str], Result]], done: Sequence[Result]
) -> None:
    """A row for each combination: the mean over directions and seeds, each direction, and the settings."""
    rows = []
    for combination in chosen:
        lines = [line for one, key in wanted if one == combination for line in done if key.items() <= line.items()]
        metrics = [line["validation"] for line in lines if line["validation"]]
        means = {way: sum(one[way] for one in metrics) / len(metrics) for way in (metrics[0] if metrics else {})}
        rows.append((sum(means.values()) / max(len(means), 1), means, combination))
    print("\t".join(["mean", *(rows[0][1] if rows else []), "settings"]))
    for mean, means, combination in sorted(rows, key=lambda row: -row[0]):
        print("\t".join([f"{mean:.4f}", *(f"{value:.4f}" for value in means.values()), named(combination)]))


def named(combination: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in combination.items()) or "the defaults"


if __name__ == "__main__":
    try:
        main()
    except HashcliError as error:
        sys.exit(str(error))
