"""hashcli distill: what the documentation promises in a process of its own, and the options in this one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hashcli.cli.distill import _print_rows
from hashcli.datasets.registry import load_dataset
from hashcli.hashmodel.model import HashModel
from tests.cli.test_run_progress import Terminal
from tests.conftest import Run, json_rows
from tests.datasets.layouts import make_flickr8k, make_mirflickr

SHORT = ("--set", "epochs=2", "--set", "hidden=16", "--bits", "16")


@pytest.fixture
def distill_process(hashcli_process: Run, tmp_path: Path) -> Run:
    """`hashcli distill` in a process of its own, with a cache of its own."""

    def run(*arguments: object, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        return hashcli_process("distill", *arguments, status=status, **own | more)

    return run


@pytest.fixture
def distill(hashcli: Run, tmp_path: Path) -> Run:
    """`hashcli distill` in this process, with a cache of its own."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def run(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        return hashcli("distill", *arguments, status=status, XDG_CACHE_HOME=str(tmp_path / "cache"))

    return run


@pytest.fixture
def flickr(tmp_path: Path, tiny_model: Path) -> tuple[object, ...]:
    """The arguments for a run on a small MIRFlickr with the tiny model as teacher and student."""
    pytest.importorskip("torch")
    root = make_mirflickr(tmp_path / "data", photos=60)
    return ("--dataset", "mirflickr", "--root", root, "--teacher", tiny_model, "--student", tiny_model, *SHORT)


def test_a_run_leaves_a_hash_model_that_indexes_and_searches(
    distill_process: Run, hashcli: Run, flickr: tuple[object, ...], photos: Path, tmp_path: Path
) -> None:
    """With --json, stdout is the rows of metrics.json; all else goes to stderr."""
    done = distill_process(*flickr, "--method", "ckdh", "--out", "run", "--baselines", "--json")
    assert json_rows(done) == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "60 of 25,000 photos are on disk" in done.stderr
    assert "16 bits, ckdh-student, epoch 2 of 2: likelihood " in done.stderr
    assert "16 bits, ITQ of the teacher, image to text: mAP@all 0." in done.stderr
    assert "hashcli index PATH --model run/model-16" in done.stderr
    hashcli("index", photos, "--index", "ix", "--model", "run/model-16")
    assert len(hashcli("search", "common tag7, unheard-of", "--index", "ix", "-k", "5").stdout.splitlines()) == 5
    assert hashcli("search", "!", "--index", "ix", "-k", "5").stdout == ""


# Kills itself when the second round has its first checkpoint.
_KILLED = """
import os, signal
from hashcli.__main__ import main
from hashcli.distillation import training_loop

def save(path, *state, real=training_loop._save):
    real(path, *state)
    if path.name == "lcdh-round-2.pt":
        os.kill(os.getpid(), signal.SIGKILL)

training_loop._save = save
main()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_run_goes_on_to_the_same_model(
    distill_process: Run, distill: Run, flickr: tuple[object, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    """Killed in the second round; what was done before is not done again."""
    rounds = ("--set", "rounds=2", "--set", "round_steps=40", "--set", "batch=8")
    arguments = (*flickr, "--method", "lcdh", *rounds)
    killed = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, "distill", *map(str, arguments), "--out", killed],
        cwd=tmp_path,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert (killed / "checkpoints" / "16" / "lcdh-round-2.pt").exists()

    distill_process(*arguments, "--out", killed, "--resume")
    distill(*arguments, "--out", "whole")
    epochs = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    places = [(epoch["stage"], epoch["number"]) for epoch in epochs]
    assert len(places) == len(set(places))
    assert [number for stage, number in places if stage == "lcdh-round-1"] == list(range(1, 21))
    one, other = (HashModel(folder / "model-16", verify=True) for folder in (killed, tmp_path / "whole"))
    assert one.fingerprint == other.fingerprint
    metrics = [(folder / "metrics.json").read_text() for folder in (killed, tmp_path / "whole")]
    assert metrics[0] == metrics[1]


def test_a_tuned_model_learns_new_pairs(
    distill_process: Run, distill: Run, flickr: tuple[object, ...], tmp_path: Path
) -> None:
    """The new data are photos with captions: a custom dataset."""
    pytest.importorskip("timm", exc_type=ImportError)
    tuned = ("--student", "timm:test_resnet/random", "--set", "tune_student=last", "--set", "tune_epochs=1")
    distill(*flickr, *tuned, "--out", "old")
    lines = []
    for number in range(5, 45):
        image = os.path.relpath(tmp_path / "data" / "mirflickr" / f"im{number}.jpg", tmp_path)
        labels = ["sky" if number % 2 == 0 else "dog"]
        lines.append(json.dumps({"image": image, "text": f"common tag{number}", "labels": labels}))
    (tmp_path / "new.jsonl").write_text("\n".join(lines))
    done = distill_process("--dataset", "./new.jsonl", "--update", "old/model-16", "--out", "new", "--set", "epochs=1")
    assert "16 bits: of the old items' bits, " in done.stderr
    assert "labels" not in done.stderr
    assert HashModel(tmp_path / "new" / "model-16", verify=True).bits == 16
    (tmp_path / "other.jsonl").write_text((tmp_path / "new.jsonl").read_text().replace('"dog"', '"cat"'))
    other = distill("--dataset", "./other.jsonl", "--update", "old/model-16", "--set", "epochs=1")
    assert "these labels are not the model's" in other.stderr
    assert (tmp_path / "runs" / "own-other-update-0" / "model-16").is_dir()


def test_the_metrics_to_read_first_are_printed(distill: Run, tiny_model: Path, tmp_path: Path) -> None:
    """Settings from a file; without --out, the folder is named for dataset, method and seed."""
    root = make_flickr8k(tmp_path / "data", train=20, dev=11)
    (tmp_path / "settings.toml").write_text('method = "lcdh"\nrounds = 2\nround_steps = 2\nkappa = 0.7\n')
    models = ("--teacher", tiny_model, "--student", tiny_model)
    done = distill("--dataset", "flickr8k", "--root", root, *models, *SHORT, "--config", "settings.toml")
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("lcdh\t")]
    assert [row[:4] for row in rows] == [
        ["lcdh", "16 bits", "image to text", "recall@10"],
        ["lcdh", "16 bits", "text to image", "recall@10"],
    ]
    assert rows[1][5] == f"chance {10 / 11:.4f}"
    assert (tmp_path / "runs" / "flickr8k-lcdh-0" / "model-16" / "model.json").exists()


def test_a_run_that_is_there_is_resumed_or_left_alone(distill: Run, flickr: tuple[object, ...], tmp_path: Path) -> None:
    """The command line says which option helps: the library does not know them."""
    distill(*flickr, "--out", "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    refused = distill(*flickr, "--out", "run", status=1)
    assert refused.stderr.splitlines()[-2:] == [
        "hashcli: run already holds a run.",
        "Continue it with --resume, or choose another --out.",
    ]
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    distill(*flickr, "--out", "run", "--resume")


def test_a_run_is_resumed_by_its_folder_alone(distill: Run, flickr: tuple[object, ...], tmp_path: Path) -> None:
    """Dataset, root, protocol, split, settings and baselines are as they were; what is given anew must be the same."""
    distill(*flickr, "--method", "ckdh", "--protocol", "MIR-D", "--baselines", "--out", "run")
    run = tmp_path / "run"
    metrics = (run / "metrics.json").read_text()
    (run / "metrics.json").unlink()
    (run / "checkpoints" / "16" / "ckdh-student.pt").unlink()
    distill("--resume", "--out", "run")
    assert (run / "metrics.json").read_text() == metrics
    other = distill("--resume", "--out", "run", "--set", "epochs=5", status=1)
    assert "run holds a run with other settings (epochs 2, not 5)" in other.stderr

    saved = json.loads((run / "run.json").read_text())
    del saved["source"]  # as an earlier version wrote it
    (run / "run.json").write_text(json.dumps(saved))
    earlier = distill("--resume", "--out", "run", status=1)
    assert "run does not say where its dataset is" in earlier.stderr
    assert "Give --dataset (mirflickr) and, as it was begun with, --root, --protocol" in earlier.stderr


def test_a_folder_without_a_run_is_not_resumed(distill: Run, tmp_path: Path) -> None:
    assert "There is no run to resume in nowhere." in distill("--resume", "--out", "nowhere", status=1).stderr
    (tmp_path / "several" / "seed-0").mkdir(parents=True)
    (tmp_path / "several" / "seed-0" / "run.json").touch()
    assert "add --seeds" in distill("--resume", "--out", "several", status=1).stderr
    assert "Give --dataset." in distill(status=2).stderr


def test_several_seeds_are_runs_of_their_own(distill: Run, flickr: tuple[object, ...], tmp_path: Path) -> None:
    """The photos are encoded once. A seed that fails does not stop the others, and is tried again with --resume."""
    out = tmp_path / "runs" / "ckdh"
    (out / "seed-1").mkdir(parents=True)
    (out / "seed-1" / "run.json").write_text("{}")
    done = distill(*flickr, "--method", "ckdh", "--seeds", "0,1,2", "--out", out, status=1)
    assert "warning: seed 1 failed: " in done.stderr
    assert "Of 3 seeds, 1 failed: 1." in done.stderr
    features = {path.name for path in (tmp_path / "cache").rglob("*.npy")}
    (out / "seed-1" / "run.json").unlink()

    again = distill("--seeds", "0,1,2", "--out", out, "--resume")
    assert [line.rpartition(" ")[2] for line in again.stderr.splitlines() if line.startswith("Seed ")] == [
        "finished",
        str(out / "seed-1"),
        "finished",
    ]
    rows = [line.split("\t") for line in again.stdout.splitlines()]
    assert {row[0] for row in rows} == {"ckdh's teacher", "ckdh"}
    assert all(row[1] == "16 bits" and row[3] == "mAP@all" and row[6] == "seeds 3" for row in rows)
    assert {path.name for path in (tmp_path / "cache").rglob("*.npy")} == features
    seeds = [json.loads((out / f"seed-{seed}" / "run.json").read_text())["config"]["seed"] for seed in (0, 1, 2)]
    assert seeds == [0, 1, 2]
    other = distill("--seeds", "0", "--out", out, "--resume", "--set", "epochs=5", status=1)
    assert "other settings (epochs 2, not 5)" in other.stderr


def test_the_last_rows_are_a_table_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"of": "soda's teacher", "bits": 1024, "direction": "image to image", "chance": 0.5}
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    _print_rows([row | {"name": "mAP@all", "value": 0.75}, row | {"name": "mAP@50", "value": 0.9}], json=False)
    heading, _, shown, *rest = stdout.getvalue().splitlines()
    assert heading.split() == ["bits", "direction", "metric", "value", "chance"]
    assert shown.split("  ")[0] == "soda's teacher"
    assert "\t" not in shown
    assert not rest


WRONG_USAGE: list[tuple[tuple[str, ...], str]] = [
    (("--bits", "many"), "--bits many is not a list of whole numbers"),
    (("--nonsense",), "--nonsense"),
    (("--split", "split.json", "--protocol", "MIR-A"), "--split and --protocol cannot be combined"),
    (("--seeds", "0,1", "--seed", "1"), "--seed and --seeds cannot be combined"),
    (("--seeds", "all"), "--seeds all is not a list of whole numbers"),
    (("--update", "model", "--seed", "1"), "--update keeps the model's method, teacher, student and bits"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_USAGE)
def test_wrong_usage_says_what_to_do(
    distill: Run, flickr: tuple[object, ...], arguments: tuple[str, ...], said: str
) -> None:
    done = distill(*flickr, *arguments, status=2)
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "odd.toml"), "odd.toml: there is no setting 'epoch'"),
        (("--teacher", "nosuch"), "There is no hash model 'nosuch'"),
        (("--set", "epochs=0"), "epochs=0: epochs must be from 1 to"),
        (("--set", "rounds=2"), "rounds=2: rounds is a setting of lcdh, and the method is soda"),
        (("--method", "coda"), "method must be one of soda, ckdh, lcdh, itq, rank, not 'coda'. Did you mean soda?"),
        (("--protocol", "MIR-X"), "mirflickr has no protocol 'MIR-X'"),
    ],
)
def test_errors_of_the_library_reach_the_terminal(
    distill: Run, flickr: tuple[object, ...], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "odd.toml").write_text("epoch = 3\n")
    done = distill(*flickr, *arguments, status=1)
    assert f"hashcli: {said}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [(), ("-q",), ("--dataset", "mirflickr")])
def test_settings_are_listed(distill: Run, arguments: tuple[str, ...]) -> None:
    """Method, name, default, what is allowed, and meaning; no dataset is needed."""
    done = distill("--settings", *arguments)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(len(row) == 5 for row in rows)
    assert {row[0] for row in rows} == {"all", "soda", "ckdh", "lcdh", "itq", "rank"}
    assert ["all", "epochs", "30", "1 to 1,000,000"] in [row[:4] for row in rows]


def test_the_settings_of_one_method_are_listed(distill: Run) -> None:
    rows = [line.split("\t") for line in distill("--settings", "ckdh").stdout.splitlines()]
    assert {row[0] for row in rows} == {"all", "ckdh"}
    assert rows == [line.split("\t") for line in distill("--settings=ckdh").stdout.splitlines()]
    wrong = distill("--settings", "ckhd", status=1)
    assert "There is no method 'ckhd'. Did you mean ckdh?" in wrong.stderr


def test_help_needs_no_torch_and_running_without_it_names_the_install_line(
    distill_process: Run, tmp_path: Path
) -> None:
    """A torch that cannot be imported stands in the way of one that may be installed."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    )
    absent = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "absent"), os.environ.get("PYTHONPATH", "")])}
    assert "One of soda, ckdh, lcdh, itq, rank." in distill_process("--help", **absent).stdout
    for arguments in (("--dataset", "mirflickr"), ("--settings",)):
        done = distill_process(*arguments, status=1, **absent)
        assert done.stderr.splitlines() == [
            "hashcli: Training needs torch, which is not installed.",
            "In a checkout of hashcli: pip install '.[train]'",
        ]


def test_a_split_can_be_repeated(distill: Run, flickr: tuple[object, ...], tmp_path: Path) -> None:
    distill(*flickr, "--out", "first")
    distill(*flickr, "--split", "first/split.json", "--seed", "5", "--out", "second")
    splits = [json.loads((tmp_path / run / "split.json").read_text()) for run in ("first", "second")]
    assert splits[0] == splits[1]
    assert splits[0]["dataset"] == load_dataset("mirflickr", tmp_path / "data").name


def test_the_defaults_in_the_help_are_those_of_the_settings(distill: Run) -> None:
    from hashcli.distillation.registry import DEFAULT_METHOD
    from hashcli.distillation.settings import Settings

    printed = "".join(distill("--help").stdout.split())
    rules = Settings.rules()
    defaults = {"teacher": rules["teacher"].default, "student": rules["student"].default, "seed": rules["seed"].default}
    for name, default in (defaults | {"method": DEFAULT_METHOD, "bits": rules["bits"].default[0]}).items():
        option = printed.partition(f"--{name}<")[2].partition("--")[0]
        assert f"[default:({default}" in option
