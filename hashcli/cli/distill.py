"""hashcli distill: train a teacher and a light student, evaluate both, and write a hash model."""

import re
import sys
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashcli.cli.command import Command
from hashcli.cli.console import ProgressBar, print_table, say, stop_with, write_json
from hashcli.cli.options import Download, Json, ProtocolName, open_dataset, whole_numbers
from hashcli.cli.remedies import with_remedies
from hashcli.errors import how_to_install

if TYPE_CHECKING:
    from collections.abc import Callable

    from hashcli.datasets.dataset import ImageTextDataset
    from hashcli.datasets.splits import Split
    from hashcli.distillation.run_folder import MetricRow
    from hashcli.distillation.run_plan import RunPlan
    from hashcli.distillation.student import Student
    from hashcli.distillation.training_loop import EpochReport
    from hashcli.evaluation.ranking import Report

EXAMPLES = """Examples:\n
hashcli distill --dataset mirflickr --root ~/data/mirflickr25k --teacher lite-256\n
hashcli distill --dataset ./captions.jsonl --method lcdh --bits 64,128 --out runs/mine\n
hashcli distill --dataset ./new.jsonl --update runs/mine/model-64\n
hashcli distill --dataset ~/Pictures --teacher local-dir:FOLDER     photos without captions\n
hashcli distill --settings ckdh     the settings of a method\n
hashcli index ~/Pictures --model runs/mine/model-64"""

SHOWN = ("mAP@all", "recall@10", "recall@10 of the 10 nearest")
ALL = "all"  # the value of --settings without a method


class DistillCommand(Command):
    """Names the registered methods in its help, and lets --settings be given without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        following = [*args[1:], "-"]
        for place, (arg, value) in enumerate(zip(args, following, strict=True)):
            if arg == "--settings" and value.startswith("-"):
                args = [*args[: place + 1], ALL, *args[place + 1 :]]
                break
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from hashcli.distillation.registry import METHODS

        option: Any
        for option in self.params:
            if option.name == "method":
                option.help = option.help.format(methods=", ".join(METHODS))
        super().format_help(ctx, formatter)


COMMAND = DistillCommand  # for cli/__init__.py


def _print_settings(method: str | None) -> None:
    """Print the list of settings and exit; does nothing without --settings."""
    if method is None:
        return
    _require_extra()
    from hashcli.distillation.registry import METHODS, load_method
    from hashcli.distillation.resolve import describe_settings

    for name in METHODS if method == ALL else [method]:
        say(f"{name}: {load_method(name).summary}")
    rows = [
        [one.method or ALL, one.name, one.default, one.allowed, one.meaning]
        for one in describe_settings(None if method == ALL else method)
    ]
    if sys.stdout.isatty():
        print_table(("method", "setting", "default", "allowed", "meaning"), rows)
    else:
        for row in rows:
            print("\t".join(row))
    raise typer.Exit


# Long because typer reads the options from the signature.
def run(
    dataset: Annotated[str, typer.Option(help="A dataset's name, or a file or folder of your own.")],
    root: Annotated[Path | None, typer.Option(help="The folder that holds the dataset's official files.")] = None,
    protocol: ProtocolName = None,
    split: Annotated[
        Path | None,
        typer.Option(help="The split.json of a run whose split to use.", show_default="drawn by --seed"),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="One of {methods}.", show_default="soda; where no photo has a text, rank")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="open_clip ARCH/PRETRAINED, ARCH/FILE, hf-hub:NAME or local-dir:FOLDER; a hash model (no network); or "
            "features:FILE, vectors computed elsewhere.",
            show_default="ViT-B-32/datacomp_xl_s13b_b90k",
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            help="The light student's image tower: a hash model, timm:NAME, timm:NAME/FILE or an open_clip model; "
            "for itq and rank also none.",
            show_default="lite-256",
        ),
    ] = None,
    bits: Annotated[
        str | None, typer.Option(help="Code lengths, separated by commas.", show_default="64; itq, rank: 256")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Determines the split, the weights and the order.", show_default="0")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/DATASET-METHOD-SEED")] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="A hash model made by distill, to be updated with this dataset."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings; options override it.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, as NAME=VALUE. Can be repeated.")
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="[METHOD]",
            callback=_print_settings,
            is_eager=True,
            help="List the settings of all methods, or of one, with default, range and meaning, and exit.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also evaluate untrained codes of the teacher.")
    ] = False,
    download: Download = False,
    json: Json = False,
) -> None:
    """Train a hash model of your own.

    A teacher such as CLIP is distilled into a small student. The student is evaluated, and exported as a hash model
    that `hashcli index` can use. The methods itq and rank need no captions: they make a hash model of the teacher
    itself, and one of a student that learns its codes. Where no photo has a text, rank is the default. The other
    methods that come with hashcli are reconstructions from the papers' abstracts, not the authors' code. The
    query set is used for evaluation only. Needs the extra `train`, from a checkout: pip install '.[train]'
    """
    lengths = whole_numbers("--bits", bits, "32,64") if bits else None
    if split and protocol:
        stop_with(
            "--split and --protocol cannot be combined: the split has a protocol.", "Leave --protocol out.", status=2
        )
    if update and (teacher or student or bits or method):
        stop_with("--update keeps the model's method, teacher, student and bits: leave those options out.", status=2)
    _require_extra()
    from platformdirs import user_cache_path

    from hashcli.datasets.splits import make_split, read_split
    from hashcli.distillation.resolve import named_method, resolve_settings
    from hashcli.distillation.run_plan import RunPlan
    from hashcli.distillation.student import load_student

    old = load_student(update) if update else None
    values = {"method": method, "teacher": teacher, "student": student, "bits": lengths, "seed": seed}
    named = named_method(config, set_ or [], **values) or (old.settings.method if old else None)
    data, chosen = _open_for_method(partial(open_dataset, dataset, root, protocol, download=download), named)
    resolved = resolve_settings(config, set_ or [], old.settings if old else None, **values | {"method": chosen})
    parts = read_split(split, data) if split else make_split(data, resolved.seed, protocol)
    _warn(data, parts, old)
    name = f"{data.name}-{'update' if update else resolved.method}-{resolved.seed}"
    if chosen != named:  # the shortest command has the shortest name
        name = re.sub(r"[^\w.-]+", "-", data.name.removeprefix("own-").lower())
    folder = out or Path("runs") / name
    cache = user_cache_path("hashcli") / "features"
    plan = RunPlan(data, parts, resolved, folder, cache, resume=resume, baselines=baselines, update=update)
    _print_rows(_train(plan), json)
    _say_how_to_use(Path(dataset).expanduser(), plan)


def _open_for_method(
    opened: "Callable[..., ImageTextDataset]", named: str | None
) -> "tuple[ImageTextDataset, str | None]":
    """The dataset and the method: the one that is named, or where none is, one that needs no texts if there are none.

    The method is None for the default one.
    """
    from hashcli.datasets.custom import NoTextsError
    from hashcli.distillation.registry import DEFAULT_WITHOUT_TEXTS, load_method

    try:
        return opened(without_texts=named is not None and not load_method(named).needs_texts), named
    except NoTextsError:
        if named:
            raise
        say(f"None of the photos has a text, so the method is {DEFAULT_WITHOUT_TEXTS}, which needs none.")
        return opened(without_texts=True), DEFAULT_WITHOUT_TEXTS


def _say_how_to_use(dataset: Path, plan: "RunPlan") -> None:
    """A command for each hash model of the longest code, with a new index: the default one may be of another model."""
    photos = quote(str(dataset)) if dataset.is_dir() else "PATH"
    bits = max(plan.settings.bits)
    for kind, what in (("model", "hash model"), ("teacher", "teacher"), ("student", "light student")):
        model = plan.out / f"{kind}-{bits}"
        if (model / "model.json").is_file():
            index = quote(str(plan.out / f"index-{kind}-{bits}"))
            say(f"To use the {what}: hashcli index {photos} --model {quote(str(model))} --index {index}")


def _require_extra() -> None:
    try:
        import hashcli.distillation.run  # noqa: F401
    except ImportError as error:
        stop_with(f"Training needs {error.name}, which is not installed.", how_to_install("train"))


def _warn(data: "ImageTextDataset", split: "Split", student: "Student | None") -> None:
    for warning in split.warnings:
        say(f"warning: {warning}")
    if student and student.label_names and data.label_names != student.label_names:
        say("warning: these labels are not the model's, so the teacher decides how similar old and new items are")


def _train(plan: "RunPlan") -> "list[MetricRow]":
    from hashcli.distillation.run import train_hash_models

    say(f"Loading the teacher {plan.settings.teacher}")
    with _RunProgress() as progress, with_remedies():
        try:
            return train_hash_models(plan, progress)
        except KeyboardInterrupt:
            stop_with("Stopped.", f"To continue, repeat the command with --resume --out {plan.out}", status=130)


def _print_rows(rows: "list[MetricRow]", json: bool) -> None:
    for row in rows:
        if json:
            write_json(row)
        elif row["name"] in SHOWN and row["of"] != "validation":
            value = f"{row['value']:.4f}\tchance {row['chance']:.4f}"
            print(f"{row['of']}\t{row['bits']} bits\t{row['direction']}\t{row['name']}\t{value}")


class _RunProgress(ProgressBar):
    """A run's callback: epochs and metrics on stderr as they come."""

    def __init__(self) -> None:
        super().__init__("Features")

    def __enter__(self) -> "_RunProgress":
        super().__enter__()
        return self

    def planned(self, count: int, what: str = "Features") -> None:
        self._doing = what
        super().planned(count)

    def writing(self, folder: Path) -> None:
        say(f"Writing {folder}")

    def left_out(self, count: int) -> None:
        say(f"warning: {count:,} of the photos cannot be read, and are left out")

    def epoch_ended(self, bits: int, epoch: "EpochReport") -> None:
        stage = f"{bits} bits, {epoch.stage}" if bits else epoch.stage
        if stage != self._doing:
            self.planned(epoch.of, stage)
        self.scanned(epoch.number)
        if epoch.number == epoch.of or sys.stderr.isatty():
            losses = ", ".join(f"{name} {value:.4f}" for name, value in epoch.losses.items())
            metrics = ", ".join(f"{name} {value:.4f}" for name, value in epoch.validation.items())
            validation = f"; validation: {metrics}" if metrics else ""
            say(f"{stage}, epoch {epoch.number} of {epoch.of}: {losses}{validation}")

    def evaluated(self, what: str, bits: int, reports: "dict[str, Report]") -> None:
        for direction, report in reports.items():
            for metric in report.metrics:
                if metric.name in SHOWN:
                    value = f"{metric.name} {metric.value:.4f}, chance {metric.chance:.4f}"
                    say(f"{bits} bits, {what}, {direction}: {value}")

    def bits_kept(self, bits: int, image: float, text: float) -> None:
        say(f"{bits} bits: of the old items' bits, {image:.1%} (photos) and {text:.1%} (texts) are unchanged")
