"""hashcli distill: train a teacher and a light student, evaluate both, and write a hash model."""

import re
import sys
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashcli.cli.command import Command
from hashcli.cli.console import print_table, say, stop_with, write_json
from hashcli.cli.options import (
    DatasetRoot,
    Download,
    Json,
    ProtocolName,
    complete_dataset,
    complete_model,
    open_dataset,
    whole_numbers,
)
from hashcli.cli.remedies import with_remedies
from hashcli.cli.run_progress import RunProgress, shown_rows
from hashcli.errors import HashcliError, how_to_install

if TYPE_CHECKING:
    from collections.abc import Callable

    from hashcli.datasets.dataset import ImageTextDataset
    from hashcli.datasets.splits import Split
    from hashcli.distillation.run_folder import MetricRow, SavedRun
    from hashcli.distillation.run_plan import RunPlan, RunSource
    from hashcli.distillation.settings import Settings
    from hashcli.distillation.student import Student

EXAMPLES = """Examples:\n
hashcli distill --dataset mirflickr --root ~/data/mirflickr25k --teacher lite-256\n
hashcli distill --dataset ./captions.jsonl --method lcdh --bits 64,128 --out runs/mine\n
hashcli distill --dataset ./new.jsonl --update runs/mine/model-64\n
hashcli distill --dataset ~/Pictures --teacher local-dir:FOLDER     photos without captions\n
hashcli distill --resume --out runs/mine     a run that was stopped\n
hashcli distill --dataset mirflickr --root ~/data/mirflickr25k --teacher lite-256 --seeds 0,1,2\n
hashcli distill --settings ckdh     the settings of a method\n
hashcli index ~/Pictures --model runs/mine/model-64"""

ALL = "all"  # the value of --settings without a method


class DistillCommand(Command):
    """Names the registered methods in its help, and lets --settings be given without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        following = [*args, "-"][1:]
        for place, (arg, value) in enumerate(zip(args, following, strict=True)):
            if arg == "--settings" and value.startswith("-") and not ctx.resilient_parsing:
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


def _print_settings(ctx: typer.Context, method: str | None) -> None:
    """Print the list of settings and exit; does nothing without --settings, and for the shell's completion."""
    if method is None or ctx.resilient_parsing:
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


def _complete_method(incomplete: str) -> list[str]:
    from hashcli.distillation.registry import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


def _complete_student(incomplete: str) -> list[str]:
    return [name for name in (*complete_model(incomplete), "none") if name.startswith(incomplete)]


def _complete_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """NAME= for the settings of the method that is given, or of all; none without the extra `train`."""
    try:
        from hashcli.distillation.resolve import describe_settings

        settings = describe_settings(ctx.params.get("method"))
    except (HashcliError, ImportError):
        return []
    return [f"{name}=" for name in dict.fromkeys(one.name for one in settings) if name.startswith(incomplete)]


# Long because typer reads the options from the signature.
def run(
    dataset: Annotated[
        str | None,
        typer.Option(autocompletion=complete_dataset, help="A dataset's name, or a file or folder of your own."),
    ] = None,
    root: DatasetRoot = None,
    protocol: ProtocolName = None,
    split: Annotated[
        Path | None,
        typer.Option(help="The split.json of a run whose split to use.", show_default="drawn by --seed"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            autocompletion=_complete_method,
            help="One of {methods}.",
            show_default="soda; where no photo has a text, rank",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_model,
            help="open_clip ARCH/PRETRAINED, ARCH/FILE, hf-hub:NAME or local-dir:FOLDER; a hash model (no network); or "
            "features:FILE, vectors computed elsewhere.",
            show_default="ViT-B-32/datacomp_xl_s13b_b90k",
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            autocompletion=_complete_student,
            help="The light student's image tower: a hash model, timm:NAME, timm:NAME/FILE or an open_clip model; "
            "for itq and rank also none, for the others features:FILE.",
            show_default="lite-256",
        ),
    ] = None,
    bits: Annotated[
        str | None, typer.Option(help="Code lengths, separated by commas.", show_default="64; itq, rank: 256")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Determines the split, the weights and the order.", show_default="0")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Several seeds, separated by commas: one run after the other, each in OUT/seed-SEED."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/DATASET-METHOD-SEED")] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="A hash model made by distill, to be updated with this dataset."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings; options override it.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", autocompletion=_complete_setting, help="One setting, as NAME=VALUE. Can be repeated."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="[METHOD]",
            autocompletion=_complete_method,
            callback=_print_settings,
            is_eager=True,
            help="List the settings of all methods, or of one, with default, range and meaning, and exit.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, with the dataset and settings that it has.")
    ] = False,
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
    if seeds and seed is not None:
        stop_with("--seed and --seeds cannot be combined.", "Leave --seed out.", status=2)
    several = list(dict.fromkeys(whole_numbers("--seeds", seeds, "0,1,2"))) if seeds else [seed]
    folders = [out / f"seed-{one}" if seeds else out for one in several] if out else []
    _require_extra()
    before = _run_to_resume(folders) if resume else None
    if not (dataset or before):
        stop_with(
            f"There is no run to resume in {out}." if resume and out else "Give --dataset.",
            "The folder is that of the runs of several seeds: add --seeds."
            if out and list(out.glob("seed-*/run.json"))
            else "For example: hashcli distill --dataset mirflickr --root ~/data/mirflickr25k",
            status=1 if resume and out else 2,
        )
    from hashcli.datasets.registry import DATASETS
    from hashcli.distillation.resolve import named_method, resolve_settings
    from hashcli.distillation.run_plan import RunSource
    from hashcli.distillation.student import load_student

    place = dataset if dataset in DATASETS else _absolute(Path(dataset)) if dataset else None
    source = _source(before, RunSource(place or "", _absolute(root), protocol, _absolute(update), baselines))
    old = load_student(Path(source.update)) if source.update else None
    base = before.settings if before else old.settings if old else None
    values = {"method": method, "teacher": teacher, "student": student, "bits": lengths, "seed": seed}
    named = named_method(config, set_ or [], **values) or (base.method if base else None)
    root = Path(source.root) if source.root else None
    open_it = partial(open_dataset, dataset or source.dataset, root, source.protocol, download=download)
    data, chosen = _open_for_method(open_it, named)
    settings_of = partial(resolve_settings, config, set_ or [], base, **values | {"method": chosen})
    wanted = _Wanted(data, source, old, settings_of, split, out, resume, short_name=chosen != named)
    if seeds:
        _train_each(wanted, [int(one) for one in several if one is not None], json)
    else:
        plan = wanted.plan(None)
        _print_rows(_train(plan, f"To continue: hashcli distill --resume --out {quote(str(plan.out))}"), json)
        _say_how_to_use(Path(dataset or source.dataset).expanduser(), plan)


@dataclass(frozen=True)
class _Wanted:
    """What was asked for: the plan of a run is made of it, or of a run for each of several seeds.

    `settings_of` gives the settings, also for a seed=. `short_name` is for the shortest command.
    """

    data: "ImageTextDataset"
    source: "RunSource"
    updated: "Student | None"
    settings_of: "Callable[..., Settings]"
    split: Path | None
    out: Path | None
    resume: bool
    short_name: bool

    def plan(self, seed: int | None) -> "RunPlan":
        """The plan of the run, or of the run of one of several seeds."""
        from platformdirs import user_cache_path

        from hashcli.datasets.splits import make_split, read_split
        from hashcli.distillation.run_plan import RunPlan

        settings = self.settings_of() if seed is None else self.settings_of(seed=seed)
        folder = self._folder(settings, several=seed is not None)
        begun = self.resume and (folder / "run.json").exists()
        split = folder / "split.json" if begun and not self.split and not self.source.protocol else self.split
        parts = read_split(split, self.data) if split else make_split(self.data, settings.seed, self.source.protocol)
        _warn(self.data, parts, self.updated)
        update = Path(self.source.update) if self.source.update else None
        cache = user_cache_path("hashcli") / "features"
        return RunPlan(
            self.data, parts, settings, folder, cache, self.resume, self.source.baselines, update, self.source
        )

    def _folder(self, settings: "Settings", *, several: bool) -> Path:
        if self.out:
            return self.out / f"seed-{settings.seed}" if several else self.out
        if self.short_name:
            name = re.sub(r"[^\w.-]+", "-", self.data.name.removeprefix("own-").lower())
            return Path("runs") / (f"{name}-{settings.seed}" if several else name)
        return Path("runs") / f"{self.data.name}-{'update' if self.updated else settings.method}-{settings.seed}"


def _run_to_resume(folders: list[Path]) -> "SavedRun | None":
    """The run in the first of the folders that holds one."""
    from hashcli.distillation.run_folder import read_run

    return next((read_run(folder) for folder in folders if (folder / "run.json").exists()), None)


def _source(before: "SavedRun | None", given: "RunSource") -> "RunSource":
    """What was given and, of the same data, what the run to be resumed was begun with."""
    from hashcli.distillation.run_plan import RunSource

    saved = before.source if before else None
    if before and not saved and not given.dataset:
        stop_with(
            f"{before.path} does not say where its dataset is: an earlier version of hashcli began the run.",
            f"Give --dataset ({before.dataset}) and, as it was begun with, --root, --protocol, --update, --baselines.",
        )
    if not saved or given.dataset not in ("", saved.dataset):
        return given
    return RunSource(**{one.name: getattr(given, one.name) or getattr(saved, one.name) for one in fields(given)})


def _absolute(path: Path | None) -> str | None:
    """An absolute path if it exists: a name or a mistake is left as it is."""
    whole = path.expanduser() if path else None
    return str(whole.absolute() if whole.exists() else path) if whole else None


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
    if (heads := plan.out / f"heads-{bits}").is_dir():
        say(
            "No hash model was written, since vectors in a file cannot encode new photos. The trained heads, for "
            f"vectors of the same kind: {heads}"
        )


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


def _train(plan: "RunPlan", how_to_continue: str) -> "list[MetricRow]":
    from hashcli.distillation.run import train_hash_models

    say(f"Loading the teacher {plan.settings.teacher}")
    with RunProgress() as progress, with_remedies():
        try:
            return train_hash_models(plan, progress)
        except KeyboardInterrupt:
            stop_with("Stopped.", how_to_continue, status=130)


def _train_each(wanted: _Wanted, seeds: list[int], json: bool) -> None:
    """A run for each seed, and their comparison. A seed that fails does not stop the others.

    With --resume, a finished run is not repeated.
    """
    from hashcli.cli.comparison import compare_runs
    from hashcli.distillation.run_folder import finished_rows

    done, failed = list[Path](), list[int]()
    for seed in seeds:
        try:
            plan = wanted.plan(seed)
            if plan.resume and finished_rows(plan.out, plan.settings) is not None:
                say(f"Seed {seed}: {plan.out} is finished")
            else:
                say(f"Seed {seed}: {plan.out}")
                _train(plan, "To continue, repeat the command with --resume")
            done.append(plan.out)
        except HashcliError as error:
            failed.append(seed)
            say(f"warning: seed {seed} failed: {error}")
    if done:
        compare_runs(done, form="json" if json else "table")
    if failed:
        stop_with(
            f"Of {len(seeds)} seeds, {len(failed)} failed: {', '.join(map(str, failed))}.",
            "The reasons are above. To try these again, and no others: repeat the command with --resume.",
        )


def _print_rows(rows: "list[MetricRow]", json: bool) -> None:
    shown = shown_rows(rows)
    if json:
        for row in rows:
            write_json(row)
    elif sys.stdout.isatty():
        columns = ("", "bits", "direction", "metric", "value", "chance")
        print_table(columns, [[*_words(row), f"{row['value']:.4f}", f"{row['chance']:.4f}"] for row in shown])
    else:
        for row in shown:
            of, bits, direction, name = _words(row)
            print(f"{of}\t{bits} bits\t{direction}\t{name}\t{row['value']:.4f}\tchance {row['chance']:.4f}")


def _words(row: "MetricRow") -> list[str]:
    return [row["of"], str(row["bits"]), row["direction"], row["name"]]
