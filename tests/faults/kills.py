"""Index and update are killed at random moments, between random changes of the photos.

After each kill a search answers; in the end the index is what a new one of the same photos is.
"""

import json
import shutil
import signal
import subprocess
from pathlib import Path

from tests.faults.bench import Bench, answers, check

KILLS = 3  # in one trial


def trial(bench: Bench) -> None:
    photos = bench.folder / "photos"
    bench.make_photos(photos, 60)
    seconds = bench.update(photos).seconds
    for _ in range(KILLS):
        _change(bench, photos)
        _kill(bench, photos, seconds)
        done = bench.ask()
        check(done.status == 0, f"a search after a kill fails: {done.errors}")
        strange = [row["path"] for row in map(json.loads, done.output.splitlines()) if str(photos) not in row["path"]]
        check(not strange, f"a search after a kill answers with {strange[:1]}")
    last = bench.update(photos)
    check(last.status == 0, f"the update after all kills fails: {last.errors}")
    _compare_with_a_new_index(bench, photos)


def _change(bench: Bench, photos: Path) -> None:
    """Rename, delete, replace and copy photos, write texts beside some, and add new ones."""
    rng = bench.rng
    files = sorted(photos.glob("*.jpg"))
    for photo in rng.sample(files, 20):
        match rng.randrange(5):
            case 0:
                photo.unlink()
            case 1:
                shutil.copy(rng.choice([*files[:1], photo]), photos / f"copy-{rng.randrange(10**9)}.jpg")
            case 2:
                photo.with_suffix(".txt").write_text(f"a cat\na dog {rng.randrange(100)}\n")
            case _:
                photo.rename(photos / f"moved-{rng.randrange(10**9)}.jpg")
        files = sorted(photos.glob("*.jpg"))
    bench.make_photos(photos, 40)


def _kill(bench: Bench, photos: Path, seconds: float) -> None:
    """Kill an update, or interrupt it, at a random moment of the time that one takes."""
    how = bench.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT])
    more = bench.rng.choice([(), ("--rehash",), ()])
    process = bench.start(
        "index", "--index", bench.index, *more, photos, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        process.communicate(timeout=bench.rng.uniform(0.3, 1.2) * seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        _, errors = process.communicate()
        check("Traceback" not in errors, f"Ctrl-C shows a traceback: {errors}")


def _compare_with_a_new_index(bench: Bench, photos: Path) -> None:
    other = bench.folder / "new"
    bench.run("index", "--index", other, "--model", bench.model, photos)
    here, new = bench.held(), bench.held(other)
    check(not new.keys() - here.keys(), f"lost by kills: {list(new.keys() - here.keys())[:3]}")
    check(not here.keys() - new.keys(), f"left over by kills: {list(here.keys() - new.keys())[:3]}")
    differ = [key for key, item in here.items() if item != new[key]]
    check(not differ, f"differs after kills: {differ[:3]}")
    check(answers(bench.ask()) == answers(bench.ask(index=other)), "answers differ after kills")
    left = [file.name for file in bench.index.glob("*.tmp")]
    check(not left, f"left behind by kills: {left}")
