"""hashcli evaluate: a hash model against a dataset's protocol."""

from pathlib import Path
from typing import Annotated

import typer

from hashcli.cli.common import Debug, Json, ProgressReporter, say, stop_with, write_json

EXAMPLES = """Examples:\n
hashcli evaluate --dataset mirflickr --root ~/data/mirflickr25k\n
hashcli evaluate --dataset flickr8k --root ~/data/flickr8k --model ./my-model --json"""


def run(
    dataset: Annotated[
        str, typer.Option(help="coco, flickr8k, iapr, mirflickr, nuswide10, nuswide21, or a path of your own.")
    ],
    root: Annotated[Path, typer.Option(help="The folder that holds the dataset's official files.")],
    model: Annotated[str, typer.Option(help="Hash model, by name or folder.")] = "lite-256",
    k: Annotated[str, typer.Option("--k", help="Cuts for mAP@k, with commas between.")] = "50,5000",
    seed: Annotated[int, typer.Option(help="Decides the split into query and database.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a hash model: image-to-text and text-to-image, by Hamming distance, chance beside every figure.

    With labels: mean average precision and precision, items being relevant that share a label. With captions: recall
    of one's own photo or captions. Equal distances are ranked by database row, after one shuffle by the seed.
    """
    try:
        cuts = [int(cut) for cut in k.split(",")]
    except ValueError:
        stop_with(f"--k {k} is not a list of whole numbers.", "For example: --k 50,5000", status=2)

    from hashcli.datasets.registry import load_dataset
    from hashcli.datasets.splits import make_split
    from hashcli.evaluation.retrieval import measure
    from hashcli.hashmodel.model import HashModel
    from hashcli.hashmodel.registry import find_model

    hash_model = HashModel(find_model(model), verify=True)
    pairs = load_dataset(dataset, root)
    split = make_split(pairs, seed)
    for warning in split.warnings:
        say(f"warning: {warning}")
    with ProgressReporter("Encoding") as reporter:
        reporter.planned(len(set(split.query) | set(split.database)))
        reports = measure(hash_model, pairs, split, cuts, reporter.advanced)
    about = {
        "model": hash_model.name,
        "bits": hash_model.bits,
        "dataset": pairs.name,
        "protocol": split.protocol,
        "seed": seed,
        "split": split.checksum,
        "query": len(split.query),
        "database": len(split.database),
        "ties": "by database row",
    }
    if json:
        for direction, report in reports.items():
            for figure in report.figures:
                write_json(
                    {
                        **about,
                        "direction": direction,
                        "metric": figure.name,
                        "value": figure.value,
                        "chance": figure.chance,
                    }
                )
            for curve in report.curves:
                write_json({**about, "direction": direction, "curve": curve.name, "x": curve.x, "values": curve.values})
        return
    say(", ".join(f"{key} {value}" for key, value in about.items()))
    for direction, report in reports.items():
        for figure in report.figures:
            print(f"{direction}\t{figure.name}\t{figure.value:.4f}\tchance {figure.chance:.4f}")
