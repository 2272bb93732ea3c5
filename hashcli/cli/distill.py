"""hashcli distill: train a teacher and a light student, measure both, and write a hash model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashcli.cli.console import ProgressBar, say, stop_with, write_json
from hashcli.cli.options import Download, Json, ProtocolName, open_dataset, whole_numbers

if TYPE_CHECKING:
    from hashcli.distillation.training import Epoch
    from hashcli.evaluation.ranking import Report

EXAMPLES = """Examples:\n
hashcli distill --dataset mirflickr --root ~/data/mirflickr25k --teacher lite-256\n
hashcli distill --dataset ./captions.jsonl --method lcdh --bits 64,128 --out runs/mine\n
hashcli distill --dataset ./new.jsonl --update runs/mine/model-64\n
hashcli index ~/Pictures --model runs/mine/model-64"""

SHOWN = ("mAP@all", "recall@10")


def run(
    dataset: Annotated[str, typer.Option(help="A dataset's name, or a file or folder of your own.")],
    root: Annotated[Path | None, typer.Option(help="The folder that holds the dataset's official files.")] = None,
    protocol: ProtocolName = None,
    split: Annotated[
        Path | None, typer.Option(help="The split.json of a run, to repeat it.", show_default="drawn by --seed")
    ] = None,
    method: Annotated[str | None, typer.Option(help="soda, ckdh or lcdh.", show_default="soda")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="open_clip ARCH/PRETRAINED or local-dir:FOLDER, or a hash model (no network).",
            show_default="ViT-B-32/datacomp_xl_s13b_b90k",
        ),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Image backbone: a hash model, or timm:NAME.", show_default="lite-256")
    ] = None,
    bits: Annotated[str | None, typer.Option(help="Code lengths, with commas between.", show_default="64")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides split, weights and order.", show_default="0")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/DATASET-METHOD-SEED")] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="A hash model made by distill: teach it this dataset too."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings; flags go before it.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, as NAME=VALUE; can be given more than once.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Measure untrained codes of the teacher too.")] = False,
    download: Download = False,
    json: Json = False,
) -> None:
    """Train cross-modal hashing by SODA, CKDH or LCDH.

    The result is measured, and is a hash model that `hashcli index` takes.
    The methods are reconstructions from the papers' abstracts, not the authors' code. Nothing is chosen by the query
    set. Needs the extra `train`: pip install 'hashcli[train]'.
    """
    lengths = whole_numbers("--bits", bits, "32,64") if bits else None
    try:
        from hashcli.distillation.config import resolve
        from hashcli.distillation.run import run as distill
        from hashcli.distillation.student import load_student
    except ImportError as error:
        stop_with(f"Training needs {error.name}, which is not installed.", "pip install 'hashcli[train]'")
    from platformdirs import user_cache_path

    from hashcli.datasets.splits import make_split, read_split

    if split and protocol:
        stop_with("--split has a protocol of its own.", "Leave --protocol away.", status=2)
    if update and (teacher or student or bits or method):
        stop_with("--update goes on with the model's own method, teacher, student and bits.", status=2)
    before = load_student(update) if update else None
    settings = resolve(
        config,
        set_ or [],
        before.config if before else None,
        method=method,
        teacher=teacher,
        student=student,
        bits=lengths,
        seed=seed,
    )
    pairs = open_dataset(dataset, root, protocol, download=download)
    parts = read_split(split, pairs) if split else make_split(pairs, settings.seed, protocol)
    for warning in parts.warnings:
        say(f"warning: {warning}")
    if before and before.label_names and pairs.label_names != before.label_names:
        say("warning: these labels are not the model's, so the teacher tells how alike old and new items are")
    folder = out or Path("runs") / f"{pairs.name}-{'update' if update else settings.method}-{settings.seed}"
    say(f"Loading the teacher {settings.teacher}")
    with _Teller() as teller:
        try:
            rows = distill(
                pairs,
                parts,
                settings,
                folder,
                user_cache_path("hashcli") / "features",
                teller,
                resume=resume,
                baseline=baselines,
                updated=before,
            )
        except KeyboardInterrupt:
            stop_with("Stopped.", f"To go on: the same command with --resume --out {folder}", status=130)
    if json:
        for row in rows:
            write_json(row)
        return
    for row in rows:
        if row["name"] in SHOWN and row["of"] != "validation":
            figures = f"{row['value']:.4f}\tchance {row['chance']:.4f}"
            print(f"{row['of']}\t{row['bits']} bits\t{row['direction']}\t{row['name']}\t{figures}")
    say(f"To use the hash model: hashcli index PATH --model {folder}/model-{settings.bits[0]}")


class _Teller(ProgressBar):
    """Epochs and figures on stderr, as they come."""

    def __init__(self) -> None:
        super().__init__("Features")

    def __enter__(self) -> "_Teller":
        super().__enter__()
        return self

    def epoch(self, bits: int, epoch: "Epoch") -> None:
        if epoch.number == epoch.of or sys.stderr.isatty():
            losses = ", ".join(f"{name} {value:.4f}" for name, value in epoch.losses.items())
            figures = ", ".join(f"{name} {value:.4f}" for name, value in epoch.validation.items())
            told = f"{losses}; validation: {figures}" if figures else losses
            say(f"{bits} bits, {epoch.stage}, epoch {epoch.number} of {epoch.of}: {told}")

    def measured(self, what: str, bits: int, reports: "dict[str, Report]") -> None:
        for direction, report in reports.items():
            for figure in report.metrics:
                if figure.name in SHOWN:
                    value = f"{figure.name} {figure.value:.4f}, chance {figure.chance:.4f}"
                    say(f"{bits} bits, {what}, {direction}: {value}")

    def kept(self, bits: int, image: float, text: float) -> None:
        say(f"{bits} bits: of the old items' bits, {image:.1%} (photos) and {text:.1%} (texts) are as they were")
