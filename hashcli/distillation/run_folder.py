"""The folder that a run writes, and in which it can be resumed.

It holds `run.json` (everything that decides the run), `split.json`, `checkpoints/`, `log.jsonl` (every epoch),
`metrics.json`, `tensorboard/` where TensorBoard is installed, `codes-BITS.npz` (packed codes, labels and split, from
which every metric can be computed again), and a hash-model folder `model-BITS` for each code length. A run of a method
without pairs has no codes; its checkpoints are the teacher's hash layers, and its hash models are named `teacher-BITS`
and `student-BITS`. A student on vectors in files has `heads-BITS` in place of a hash model.
"""

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hashcli
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import settings_from_json
from hashcli.distillation.run_plan import RunPlan, RunSource
from hashcli.distillation.scalars import Scalars
from hashcli.distillation.settings import Settings, shown
from hashcli.distillation.training_loop import EpochReport
from hashcli.errors import HashcliError, reason_of
from hashcli.evaluation.ranking import Report
from hashcli.evaluation.retrieval import DatasetCodes
from hashcli.parsing import parse_json
from hashcli.plain_files import read_plain

MetricRow = dict[str, Any]  # of, bits, direction, name, value, chance


class RunExistsError(HashcliError):
    """The folder already holds a run, and it was not to be resumed."""


@dataclass(frozen=True)
class SavedRun:
    """What run.json says of a run. `source` is None for a run that an earlier version began."""

    path: Path
    dataset: str
    settings: Settings
    source: RunSource | None


class RunFolder:
    """A run folder that has been begun."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._scalars = Scalars(path / "tensorboard")
        self._logged = _read_log(path / "log.jsonl")

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def checkpoints(self, bits: int | None = None) -> Path:
        """The folder for the checkpoints of a code length, or of what is trained for all of them."""
        folder = self.path / "checkpoints" / (str(bits) if bits else "")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def model(self, bits: int, kind: str = "model") -> Path:
        return self.path / f"{kind}-{bits}"

    def heads(self, bits: int) -> Path:
        """The folder for the heads of a student that cannot become a hash model."""
        return self.path / f"heads-{bits}"

    def log_epoch(self, bits: int, epoch: EpochReport) -> None:
        """Log an epoch once: a run killed between its log and its checkpoint trains that epoch again."""
        if (bits, epoch.stage, epoch.number) not in self._logged:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"bits": bits, **asdict(epoch)}) + "\n")
            self._scalars.add_epoch(bits, epoch)

    def save_codes(self, bits: int, codes: DatasetCodes, dataset: ImageTextDataset, split: Split) -> None:
        """Write codes-BITS.npz."""
        arrays = {
            "rows": codes.rows,
            "photos": codes.packed["image"],
            "texts": codes.packed["text"],
            "text_rows": codes.text_rows,
            "query": split.query,
            "database": split.database,
        }
        if dataset.labels is not None:
            arrays["labels"] = dataset.labels
        np.savez(self.path / f"codes-{bits}.npz", allow_pickle=False, **arrays)

    def save_metrics(self, rows: list[MetricRow]) -> None:
        """Write metrics.json, which ends a run."""
        self._scalars.add_metrics(rows)
        (self.path / "metrics.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def metric_rows(what: str, bits: int, reports: dict[str, Report]) -> list[MetricRow]:
    """The rows of metrics.json for the reports of `what` by direction."""
    return [
        {"of": what, "bits": bits, "direction": direction, **asdict(metric)}
        for direction, report in reports.items()
        for metric in report.metrics
    ]


def open_run(path: Path, settings: Settings, facts: dict[str, Any], split_json: str, *, resume: bool) -> RunFolder:
    """Begin a run or, with `resume`, take up the one that the folder holds, if any. The errors are those of both."""
    if resume and (path / "run.json").exists():
        return resume_run(path, facts, defaults=type(settings)(method=settings.method).to_json())
    return begin_run(path, facts, split_json)


def begin_run(path: Path, facts: dict[str, Any], split_json: str) -> RunFolder:
    """Begin a run in a new folder. `facts` are from `run_facts`. Raises RunExistsError if there is a run already."""
    if (path / "run.json").exists():
        raise RunExistsError(f"{path} already holds a run.", "Resume it, or choose another folder.")
    path.mkdir(parents=True, exist_ok=True)
    (path / "split.json").write_text(split_json, encoding="utf-8")
    temporary = path / "run.tmp"
    temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path / "run.json")
    return RunFolder(path)


def resume_run(path: Path, facts: dict[str, Any], defaults: dict[str, Any]) -> RunFolder:
    """Take up a run that was begun with the same facts. Raises HashcliError saying what is different.

    A setting that the run does not have yet counts as its default, from `defaults`. Settings that are not among the
    facts are ignored: version 0.1 saved those of all methods. A run without a version of its method is of the first.
    """
    saved = {"method_version": 1} | _saved_facts(path / "run.json")
    now = json.loads(json.dumps(facts))
    different = _changed_settings(saved["config"], now["config"], defaults)
    different += [
        what
        for key, what in (
            ("method_version", f"another version of {now['config']['method']}, which trains otherwise"),
            ("split", "another split"),
            ("data", "other data"),
            ("towers", "other teachers or students of these names"),
            ("updated", "another model to update"),
        )
        if saved.get(key) != now[key]
    ]
    if different:
        raise HashcliError(f"{path} holds a run with {different[0]}.", "Choose another folder.")
    return RunFolder(path)


def read_run(path: Path) -> SavedRun:
    """What the run in a folder was started with. Raises HashcliError if there is none."""
    saved = _saved_facts(path / "run.json")
    try:
        source = RunSource(**saved["source"]) if saved.get("source") else None
        return SavedRun(path, str(saved["dataset"]), settings_from_json(saved["config"]), source)
    except (KeyError, TypeError) as error:
        raise HashcliError(f"{path} does not describe a run: {error!r}.", "Choose another folder.") from error


def finished_rows(path: Path, settings: Settings) -> list[MetricRow] | None:
    """The rows of metrics.json, or None if the run in the folder is not finished.

    Raises HashcliError if it has other settings.
    """
    if not (path / "metrics.json").exists():
        return None
    defaults = type(settings)(method=settings.method).to_json()
    different = _changed_settings(_saved_facts(path / "run.json")["config"], settings.to_json(), defaults)
    if different:
        raise HashcliError(f"{path} holds a run with {different[0]}.", "Choose another folder.")
    return list(json.loads((path / "metrics.json").read_text(encoding="utf-8")))


def _changed_settings(saved: dict[str, Any], now: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """What is different, as one text; or nothing. A setting that is not saved counts as its default."""
    before = {name: saved.get(name, default) for name, default in defaults.items()}
    changed = [
        f"{name} {shown(before[name])}, not {shown(value)}" for name, value in now.items() if before[name] != value
    ]
    return [f"other settings ({'; '.join(changed)})"] if changed else []


def _saved_facts(path: Path) -> dict[str, Any]:
    try:
        saved = parse_json(read_plain(path).decode())
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {reason_of(error)}.", "Choose another folder.") from error
    except ValueError as error:
        raise HashcliError(f"{path} does not describe a run: {error}.", "Choose another folder.") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("config"), dict):
        raise HashcliError(f"{path} does not describe a run: it has no config.", "Choose another folder.")
    return saved


def run_facts(plan: RunPlan, towers: dict[str, str], updated: str | None) -> dict[str, Any]:
    """The content of run.json. `towers` are the keys of the towers, `updated` the digest of a student to update."""
    settings, dataset, split = plan.settings, plan.dataset, plan.split
    return {
        "config": settings.to_json(),
        "method_version": load_method(settings.method).version,
        "dataset": dataset.name,
        "source": asdict(plan.source) if plan.source else None,
        "protocol": split.protocol,
        "split": split.checksum,
        "sizes": {part: len(getattr(split, part)) for part in ("query", "database", "train", "validation")},
        "warnings": split.warnings,
        "data": _data_checksum(dataset),
        "towers": towers,
        "updated": updated,
        "versions": {
            "hashcli": hashcli.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("torch", "numpy", "onnxruntime")},
        },
    }


def _read_log(path: Path) -> set[tuple[int, str, int]]:
    """The epochs that are logged: code length, stage and number. A last line cut off by a kill is removed."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith("\n"):
        path.write_text("".join(lines[:-1]), encoding="utf-8")
        lines.pop()
    try:
        return {(epoch["bits"], epoch["stage"], epoch["number"]) for epoch in map(parse_json, lines)}
    except (ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{path} is not a training log: {error}.", "Choose another folder.") from error


def _data_checksum(dataset: ImageTextDataset) -> str:
    """16 hex digits over the ids, texts and labels, and the photos' sizes."""
    digest = hashlib.sha256()
    for row, identity in enumerate(dataset.ids):
        size = dataset.images[row].stat().st_size
        digest.update(json.dumps([identity, dataset.texts[row], size]).encode())
    if dataset.labels is not None:
        digest.update(dataset.labels.tobytes())
    return digest.hexdigest()[:16]
