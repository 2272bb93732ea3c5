"""Options that several commands have, and what they stand for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashcli.cli.console import ProgressBar, UsageError, detail, say, stop_with
from hashcli.hashmodel.device import Device

if TYPE_CHECKING:
    from hashcli.datasets.dataset import ImageTextDataset
    from hashcli.index.locations import IndexLocation

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]


def _index_option(help_: str) -> Any:
    return typer.Option(
        "--index",
        metavar="FOLDER",
        envvar="HASHCLI_INDEX",
        show_default=".hashcli in this folder or above, else in your data folder",
        help=help_,
    )


IndexFolder = Annotated[
    str | None,
    _index_option("The folder of the index. An index kept beside its photos can be moved with them."),
]
IndexOrCollection = Annotated[
    str | None,
    _index_option("The folder of the index, or the address of a collection: milvus://HOST:PORT/COLLECTION."),
]


def complete_index_name(incomplete: str) -> list[str]:
    """The index names that begin with `incomplete`, for the shell's completion."""
    from hashcli.index.locations import named_indexes

    return [name for name in named_indexes() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """The installed hash models whose names begin with `incomplete`, for the shell's completion."""
    from hashcli.hashmodel.registry import model_folders

    return [folder.name for folder in model_folders() if folder.name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """The datasets whose names begin with `incomplete`; a file or folder of one's own is completed by the shell."""
    from hashcli.datasets.registry import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


def complete_protocol(ctx: typer.Context, incomplete: str) -> list[str]:
    """The protocols of the dataset that is given, or of all."""
    from hashcli.datasets.registry import DATASETS

    given = DATASETS.get(ctx.params.get("dataset") or "")
    protocols = (protocol.name for source in ([given] if given else DATASETS.values()) for protocol in source.protocols)
    return [name for name in dict.fromkeys(protocols) if name.startswith(incomplete)]


DeviceOption = Annotated[
    Device | None,
    typer.Option(
        "--device",
        show_default="cpu",
        help="What to encode on: a GPU (cuda with onnxruntime-gpu, coreml on a Mac), or auto for one if there is one.",
    ),
]
IndexName = Annotated[
    str | None,
    typer.Option("--name", autocompletion=complete_index_name, help="A named index, instead of --index."),
]
Download = Annotated[
    bool,
    typer.Option(
        "--download",
        help="First download what the publisher offers freely: into --root, or the dataset's home. Can be resumed.",
    ),
]
DatasetRoot = Annotated[
    Path | None,
    typer.Option(
        "--root",
        show_default="where it was last, else datasets/NAME in your data folder",
        help="The folder that holds the dataset's official files. It is remembered.",
    ),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        autocompletion=complete_protocol,
        help="How the dataset is split, and which pairs are used: MIR-A to MIR-D for mirflickr.",
    ),
]


def index_location(index: str | None, name: str | None, *, or_collection: bool = False) -> "IndexLocation":
    """The index to use: the given folder or name; else the one beside the photos; else the one in the data folder.

    A collection on a Milvus server is one only with `or_collection`.
    """
    from hashcli.cli.remedies import with_remedies
    from hashcli.index.locations import IndexNameError, locate

    if index is not None and name is not None:
        stop_with("--index and --name both choose an index: give one of them.", status=2)
    if index is not None and not Path(index).name:
        stop_with("--index needs the name of a folder.", status=2)
    try:
        with with_remedies():
            location = locate(index, name)
    except IndexNameError as error:
        raise UsageError(error.problem, error.remedy) from error
    if location.collection and not or_collection:
        stop_with(
            f"This needs an index of this machine: the photos of {location.collection} are on other machines.",
            "Choose an index by --index or --name. To publish to a collection: hashcli index --publish ADDRESS",
        )
    detail(f"index: {location.collection or location.folder}")
    return location


def say_device(device: str) -> None:
    """Say what is encoded on, after a device was asked for."""
    say(f"Encoding on {'the CPU' if device == 'cpu' else f'a GPU, by {device}'}.")


def whole_numbers(option: str, given: str, example: str) -> tuple[int, ...]:
    """Whole numbers separated by commas. Ends the program with status 2 if they are not."""
    try:
        return tuple(int(number) for number in given.split(","))
    except ValueError:
        stop_with(f"{option} {given} is not a list of whole numbers.", f"For example: {option} {example}", status=2)


def open_dataset(
    name: str, root: Path | None, protocol: str | None, *, download: bool, without_texts: bool = False
) -> "ImageTextDataset":
    """A dataset by name below `root`, which is remembered, or one's own by its path.

    A protocol may use other pairs of it. `without_texts` allows a folder of photos without texts.
    """
    from hashcli.cli.remedies import with_remedies
    from hashcli.datasets.homes import home_of, remember_root
    from hashcli.datasets.registry import DATASETS, load_dataset

    source = DATASETS.get(name)
    if download:
        from hashcli.datasets.download import download as fetch

        if root is None and source:
            root = home_of(source)
        with ProgressBar("Downloading (MiB)") as progress:
            fetch(name, root or Path(), progress)
    with with_remedies():
        dataset = load_dataset(name, root, protocol, without_texts=without_texts)
    if source and root and not source.default_root and remember_root(source, root.expanduser()):
        say(f"{name} will be looked for in {root} from now on, unless --root names another folder")
    return dataset
