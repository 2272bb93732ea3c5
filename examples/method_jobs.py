"""The jobs of compare_methods.py: each trains one method at one code length with one seed, in a process of its own.

    python examples/method_jobs.py JOB_AS_JSON

A job writes its run folder as `hashcli distill` does. Started again, it goes on where it was stopped.
"""

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import Split, make_split
from hashcli.distillation.baselines import baseline_codes
from hashcli.distillation.callbacks import RunCallback
from hashcli.distillation.evaluator import Reports, SplitEvaluator
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.feature_files import PREFIX, VectorImageTower, vector_towers
from hashcli.distillation.features import Features, UsedItems, encode_for_teacher, encode_photos, encode_texts
from hashcli.distillation.open_towers import Towers, open_teacher, open_towers
from hashcli.distillation.rank import RankSettings, train_rank
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.run_folder import MetricRow, finished_rows, metric_rows, open_run, run_facts
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.settings import Settings
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report
from hashcli.parsing import parse_json

BASELINES = "rank"  # the method of a job that fits all baselines, of which `rank` is one
CACHE = user_cache_path("hashcli") / "features"


@dataclass(frozen=True)
class Data:
    """A dataset by its name and folder; with `vectors`, only its photos that have a vector in that file."""

    name: str
    root: str
    vectors: str = ""

    def load(self) -> ImageTextDataset:
        dataset = load_dataset(self.name, Path(self.root))
        if not self.vectors:
            return dataset
        tower, _ = vector_towers(f"{PREFIX}{self.vectors}")
        return photos_with_vectors(dataset, tower)


@dataclass(frozen=True)
class Job:
    """`settings` are the settings other than the defaults; of `assignments`, NAME=VALUE, a method takes those that it
    has. `folder` is the run's.
    """

    data: Data
    method: str
    bits: int
    seed: int
    folder: str
    settings: dict[str, Any] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return Path(self.folder)

    def resolved(self) -> Settings:
        known = load_method(self.method).settings.rules()
        own = [one for one in self.assignments if one.partition("=")[0].strip() in known]
        values = {name: value for name, value in self.settings.items() if name in known}
        return resolve_settings(assignments=own, method=self.method, bits=self.bits, seed=self.seed, **values)

    @property
    def cpu_seconds(self) -> float:
        """What all its processes have taken so far, stopped ones included unless they were killed with their parent."""
        path = self.path / "cpu.json"
        return float(json.loads(path.read_text())["seconds"]) if path.exists() else 0.0

    def finished(self, split: Split) -> list[MetricRow] | None:
        """The rows of its metrics.json, or None. Raises HashcliError if its folder holds another run."""
        settings = self.resolved()
        rows = finished_rows(self.path, settings)
        if rows is None:
            return None
        saved = parse_json((self.path / "run.json").read_text(encoding="utf-8"))
        before = saved["split"], saved["towers"]["teacher"], saved.get("method_version", 1)
        if before != (split.checksum, teacher_key(settings.teacher), load_method(self.method).version):
            raise HashcliError(
                f"{self.path} holds a run of other data, another teacher or an older version of its method.",
                "Choose another --out.",
            )
        return rows

    def run(self) -> bool:
        """Train in a new process, and note what it takes. False if it fails."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, __file__, json.dumps(asdict(self))]
        try:
            return subprocess.run(command, check=False).returncode == 0
        finally:
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            if self.path.exists():
                (self.path / "cpu.json").write_text(json.dumps({"seconds": self.cpu_seconds + taken}) + "\n")


@lru_cache
def teacher_key(name: str) -> str:
    """What identifies a teacher's weights or vectors."""
    return open_teacher(name)[0].key


def photos_with_vectors(flickr8k: ImageTextDataset, tower: VectorImageTower) -> ImageTextDataset:
    """The photos of the train and dev lists that have a vector."""
    has = np.array([path.name in tower.vectors.rows for path in flickr8k.images])
    rows = {part: flickr8k.parts[part][has[flickr8k.parts[part]]] for part in ("train", "dev")}
    kept = np.sort(np.concatenate([*rows.values()]))
    return replace(
        flickr8k,
        name="flickr8k-with-vectors",
        ids=[flickr8k.ids[row] for row in kept],
        images=[flickr8k.images[row] for row in kept],
        texts=[flickr8k.texts[row] for row in kept],
        parts={part: np.searchsorted(kept, some) for part, some in rows.items()},
        missing="",
    )


class PrintMetrics(RunCallback):
    """Prints the first metric of everything that a run evaluates."""

    def evaluated(self, what: str, bits: int, reports: dict[str, Report]) -> None:
        first = {direction: report.metrics[0] for direction, report in reports.items()}
        shown = ", ".join(f"{direction} {one.name} {one.value:.4f}" for direction, one in first.items())
        print(f"  {bits} bits, {what}: {shown}", file=sys.stderr)


def encode(data: Data, teacher: str, assignments: tuple[str, ...]) -> None:
    """Encode all items by teacher and student, so that no job's time has the encoding in it."""
    dataset = data.load()
    job = Job(data, "ckdh", 64, 0, "", {"teacher": teacher}, assignments)
    towers = open_towers(job.resolved(), torch.device("cpu"))
    items, cache = UsedItems.of_split(dataset, make_split(dataset, 0)), _cache(dataset)
    encode_for_teacher(items, towers, cache)
    encode_photos(items, towers.student_image, cache)
    if towers.student_text:
        encode_texts(items, towers, [], cache)


def write_vectors(data: Data, path: Path) -> str:
    """A file of lite-256's own vectors of the photos. Returns its name as a teacher's."""
    if not path.exists():
        dataset = data.load()
        path.parent.mkdir(parents=True, exist_ok=True)
        features = _cache(dataset).images(open_teacher("lite-256")[0], dataset.images)
        np.savez(path, files=np.array(dataset.ids), features=features)
    return f"{PREFIX}{path}"


def _cache(dataset: ImageTextDataset) -> FeatureCache:
    return FeatureCache(CACHE, dataset.name, lambda count: None)


def run_job(job: Job) -> None:
    """What the process of a job does. Of what a run writes, checkpoints and hash models are deleted at its end."""
    dataset = job.data.load()
    split = make_split(dataset, job.seed)
    resume = (job.path / "run.json").exists()
    plan = RunPlan(dataset, split, job.resolved(), job.path, CACHE, resume=resume)
    if job.method == BASELINES:
        _fit_baselines(plan)
    else:
        train_hash_models(plan, PrintMetrics())
    for folder in (job.path / "checkpoints", job.path / f"model-{job.bits}"):
        shutil.rmtree(folder, ignore_errors=True)


def _fit_baselines(plan: RunPlan) -> None:
    """Codes of the teacher's own features, which need no pairs: its principal directions, ITQ, and rank."""
    dataset, split, settings = plan.dataset, plan.split, plan.settings
    assert isinstance(settings, RankSettings)
    (bits,) = settings.bits
    image, text = open_teacher(settings.teacher)
    towers = Towers(image, text, image, None)
    folder = open_run(plan.out, settings, run_facts(plan, towers.keys(), None), split.to_json(dataset), resume=True)
    items = UsedItems.of_split(dataset, split)
    seen = encode_for_teacher(items, towers, _cache(dataset))
    features = Features(items.photos, torch.from_numpy(items.photo_of), seen.image, seen.text, seen.image, seen.text)
    rows: list[MetricRow] = []

    def on_report(what: str, reports: Reports) -> None:
        rows.extend(metric_rows(what, bits, reports))
        PrintMetrics().evaluated(what, bits, reports)

    evaluator = SplitEvaluator(dataset, split, items, features, on_report)
    for what, codes in baseline_codes(items, features, bits, settings.seed).items():
        on_report(what, evaluator.evaluate(codes))
    photos = np.unique(items.trained_photos)
    heads = train_rank(seen.image[photos].numpy(), seen.text[items.trained].numpy(), bits, settings)
    evaluator.report("rank of the teacher", heads.encode)
    folder.save_metrics(rows)


def main() -> None:
    given = json.loads(sys.argv[1])
    given["assignments"] = tuple(given["assignments"])
    try:
        run_job(Job(**given | {"data": Data(**given["data"])}))
    except HashcliError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
