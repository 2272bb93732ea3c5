"""Vectors from files as towers: every format is read, and whatever is missing or of no use is named."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch")

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.vocabulary import bag_of_words
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.feature_files import vector_towers
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.token_bag import TOWER_NORM
from hashcli.distillation.towers import BackboneTower
from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from tests.distillation.runs import Kept, short_settings, small_mirflickr, small_plan

PHOTOS = ["beach/1.jpg", "beach/2.jpg", "3.jpg"]
TEXTS = ["a dog", "a red kite – über all"]
RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((3, 5)).astype(np.float32)
TEXT = RNG.standard_normal((2, 5)).astype(np.float32)

Arrays = dict[str, Any]
BOTH: Arrays = {"files": PHOTOS, "image_features": IMAGE, "texts": TEXTS, "text_features": TEXT}


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def save_npz(folder: Path, arrays: Arrays) -> str:
    np.savez(folder / "clip.npz", **arrays)
    return str(folder / "clip.npz")


def save_npys(folder: Path, arrays: Arrays) -> str:
    """Each array a file of its name."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return ",".join(str(folder / f"{name}.npy") for name in arrays)


def save_mat(folder: Path, arrays: Arrays) -> str:
    """Names as a cell array, as MATLAB users have them."""
    io = pytest.importorskip("scipy.io")
    cells = {name: np.array(array, object) if isinstance(array, list) else array for name, array in arrays.items()}
    io.savemat(folder / "clip.mat", cells)
    return str(folder / "clip.mat")


def save_mat_characters(folder: Path, arrays: Arrays) -> str:
    """Names as a matrix of characters, padded with spaces."""
    io = pytest.importorskip("scipy.io")
    io.savemat(folder / "clip.mat", {name: np.array(array) for name, array in arrays.items()})
    return str(folder / "clip.mat")


def save_mat_7_3(folder: Path, arrays: Arrays) -> str:
    """HDF5 as MATLAB writes it: axes swapped, strings as UTF-16 in cells, and 512 bytes of its own in front."""
    h5py = pytest.importorskip("h5py")
    path = folder / "clip.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if isinstance(array, list):
                cells = [file.create_dataset(f"#refs#/{name}{i}", data=utf16(one)) for i, one in enumerate(array)]
                stored = file.create_dataset(name, (1, len(cells)), h5py.ref_dtype)
                stored[0] = [cell.ref for cell in cells]
                stored.attrs["MATLAB_class"] = np.bytes_("cell")
            else:
                file.create_dataset(name, data=array.T).attrs["MATLAB_class"] = np.bytes_("single")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return str(path)


def utf16(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None]


def save_h5(folder: Path, arrays: Arrays) -> str:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "clip.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return str(folder / "clip.h5")


FORMATS = [save_npz, save_npys, save_mat, save_mat_characters, save_mat_7_3, save_h5]


@pytest.mark.parametrize("save", FORMATS)
def test_every_format_is_read(save: Callable[[Path, Arrays], str], tmp_path: Path) -> None:
    image, text = vector_towers(f"features:{save(tmp_path, BOTH)}")
    assert image.look_up(["photos/3.jpg", "photos/beach/1.jpg"]) == pytest.approx(unit(IMAGE)[[2, 0]])
    assert text.encode_texts(TEXTS[::-1]) == pytest.approx(unit(TEXT)[::-1])
    assert image.width == text.width == 5


@pytest.mark.parametrize("library", ["scipy", "h5py"])
def test_a_library_that_is_missing_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("clip.mat" if library == "scipy" else "clip.h5")
    path.touch()
    monkeypatch.setitem(sys.modules, "scipy.io" if library == "scipy" else library, None)
    with pytest.raises(
        HashcliError, match=rf"is read with {library}, which is not installed.*pip install '\.\[train\]'"
    ):
        vector_towers(f"features:{path}")


def test_photos_and_texts_may_be_in_files_of_their_own(tmp_path: Path) -> None:
    """The name of a text's photo may stand beside it. A folder counts as all its files; others are passed over."""
    np.savez(tmp_path / "photos.npz", files=PHOTOS[:2], features=IMAGE[:2], split=["train", "dev"])
    np.savez(tmp_path / "more.npz", files=PHOTOS[2:], features=IMAGE[2:])
    np.savez(tmp_path / "texts.npz", files=PHOTOS[:2], texts=TEXTS, features=TEXT.astype(np.float16))
    (tmp_path / "notes.txt").write_text("Made with CLIP.")
    listed = vector_towers("features:" + ", ".join(str(tmp_path / f"{one}.npz") for one in ("photos", "more", "texts")))
    for image, text in (listed, vector_towers(f"features:{tmp_path}")):
        assert image.look_up(PHOTOS) == pytest.approx(unit(IMAGE))
        assert text.encode_texts(TEXTS) == pytest.approx(unit(TEXT), abs=1e-3)
        assert text.encode_texts(TEXTS).dtype == np.float32
    assert image.look_up(PHOTOS) == pytest.approx(np.stack([*map(np.asarray, image.encode_images(iter(PHOTOS)))]))


def test_a_photo_is_found_by_any_end_of_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest that is known counts. Names as on Windows, and with ./ in front, are the same."""
    names = ["1.jpg", "beach\\1.jpg", "./trip/beach/1.jpg", str(tmp_path / "4.jpg")]
    vectors = np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "clip.npz", files=names, features=vectors)
    image, _ = vector_towers(f"features:{tmp_path / 'clip.npz'}")
    paths = ["/a/1.jpg", "/a/beach/1.jpg", "/a/trip/beach/1.jpg"]
    assert np.array_equal(image.look_up(paths), vectors[:3])
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(image.look_up(["4.jpg"]), vectors[3:])


def test_two_photos_that_share_a_name_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", files=["1.jpg"], features=IMAGE[:1])
    image, _ = vector_towers(f"features:{tmp_path / 'clip.npz'}")
    with pytest.raises(HashcliError, match=r"clip\.npz, 1\.jpg could be a/1\.jpg or b/1\.jpg"):
        image.look_up(["a/1.jpg", "b/1.jpg"])


def test_what_has_no_vector_is_counted_and_named(tmp_path: Path) -> None:
    """Of all that was asked for, also where texts are encoded in batches."""
    image, text = open_teacher(f"features:{save_npz(tmp_path, BOTH)}")
    counts: list[int] = []
    cache = FeatureCache(tmp_path / "cache", "own", counts.append)
    photos = [Path(name) for name in (*PHOTOS, "x.jpg", "y.jpg")]
    with pytest.raises(HashcliError, match=r"2 of 5 photos have no vector in .*clip\.npz, for example 'x\.jpg', 'y\.j"):
        cache.images(image, photos)
    with pytest.raises(HashcliError, match=r"100 of 200 texts have no vector in .*, for example 'a cat'\. Add .*CKDH"):
        cache.texts(text, ["a dog", "a cat"] * 100)
    assert cache.images(image, photos[:3]) == pytest.approx(unit(IMAGE))
    assert cache.texts(text, ["a  dog\n"]) == pytest.approx(unit(TEXT)[:1])
    assert sum(counts) == 4
    assert not (tmp_path / "cache").exists()
    with pytest.raises(HashcliError, match=r"1 of 1 photos has no vector.* a photo is named like 'beach/1\.jpg'"):
        cache.images(image, photos[-1:])


def test_a_name_may_stand_twice_with_one_vector(tmp_path: Path) -> None:
    twice: Arrays = {"files": ["1.jpg", "1.jpg"], "features": np.stack([IMAGE[0], IMAGE[0] * 2])}
    image, _ = vector_towers(f"features:{save_npz(tmp_path, twice)}")
    assert image.look_up(["1.jpg"]) == pytest.approx(unit(IMAGE[:1]))
    twice["features"] = IMAGE[:2]
    with pytest.raises(HashcliError, match=r"clip\.npz has two different vectors of '1\.jpg'"):
        vector_towers(f"features:{save_npz(tmp_path, twice)}")


NOT_FINITE = np.array([[np.nan] * 5, IMAGE[1], [0] * 5])

UNUSABLE: list[tuple[Arrays, str]] = [
    (
        BOTH | {"image_features": NOT_FINITE},
        r"2 of 3 vectors are zero or not finite, for example of 'beach/1\.jpg'",
    ),
    (BOTH | {"text_features": TEXT[:, :4]}, r"have 5 numbers each, and those of .*clip\.npz have 4"),
    (BOTH | {"files": PHOTOS[:2]}, r"image_features is float32 \[3, 5\], and there are 2 files"),
    (BOTH | {"image_features": IMAGE[0]}, r"image_features is float32 \[5\], and there are 3 files"),
    (BOTH | {"text_features": TEXT.astype(str)}, r"text_features is <U.* \[2, 5\]"),
    ({"files": PHOTOS, "embeddings": IMAGE}, r"no vectors under a name that is known.*files and features, or texts"),
    ({"image_features": IMAGE}, r"has image_features but no files"),
    ({"texts": TEXTS, "features": TEXT}, r"holds no vectors of photos.*files and features"),
    ({"files": np.array(PHOTOS, object), "features": IMAGE}, r"it holds Python objects.*numpy\.array\(names\)"),
]


@pytest.mark.parametrize(("arrays", "message"), UNUSABLE)
def test_vectors_that_cannot_be_used_are_refused(arrays: Arrays, message: str, tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match=message):
        vector_towers(f"features:{save_npz(tmp_path, arrays)}")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    for name in ("broken.npz", "broken.npy", "broken.mat", "broken.h5", "notes.txt"):
        if name == "broken.mat":
            pytest.importorskip("scipy")
        if name == "broken.h5":
            pytest.importorskip("h5py")
        (tmp_path / name).write_bytes(b"nothing of the kind")
        reason = "is no file of vectors" if name == "notes.txt" else "cannot be read"
        with pytest.raises(HashcliError, match=f"{name} {reason}"):
            vector_towers(f"features:{tmp_path / name}")
    with pytest.raises(HashcliError, match=r"There is no file .*brokn\.npz'\. Did you mean .*broken\.npz"):
        vector_towers(f"features:{tmp_path / 'brokn.npz'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HashcliError, match=r"empty holds no vectors: no file in it ends in \.npz"):
        vector_towers(f"features:{tmp_path / 'empty'}")


def test_the_key_is_that_of_the_vectors_and_names(tmp_path: Path) -> None:
    keys = set()
    changes: list[Arrays] = [{}, {"files": [*PHOTOS[:2], "4.jpg"]}, {"text_features": TEXT[::-1]}]
    for number, change in enumerate(changes):
        (tmp_path / str(number)).mkdir()
        keys.add(vector_towers(f"features:{save_npz(tmp_path / str(number), BOTH | change)}")[0].key)
    (tmp_path / "again").mkdir()
    keys.add(vector_towers(f"features:{save_npys(tmp_path / 'again', BOTH)}")[1].key)
    assert len(keys) == 3


@pytest.fixture
def captions(tmp_path: Path) -> ImageTextDataset:
    """Photos with one text each and no labels."""
    dataset = small_mirflickr(tmp_path / "data")
    texts = [[f"{texts[0]} {row}"] for row, texts in enumerate(dataset.texts)]
    return replace(dataset, name="own-captions", texts=texts, labels=None, label_names=[])


def save_vectors(dataset: ImageTextDataset, path: Path, *, texts: bool = True) -> str:
    """Random vectors of all photos by their names, and of all texts. Returns the teacher's name."""
    rng = np.random.default_rng(0)
    named: Arrays = {"files": [photo.name for photo in dataset.images]}
    named["image_features"] = rng.standard_normal((len(dataset.images), 16))
    if texts:
        named["texts"] = [text for several in dataset.texts for text in several]
        named["text_features"] = rng.standard_normal((len(named["texts"]), 16))
    np.savez(path, **named)
    return f"features:{path}"


@pytest.mark.parametrize(("method", "texts"), [("ckdh", True), ("ckdh", False), ("lcdh", True)])
def test_a_student_learns_from_vectors(
    captions: ImageTextDataset, tiny_model: Path, tmp_path: Path, method: str, texts: bool
) -> None:
    teacher = save_vectors(captions, tmp_path / "clip.npz", texts=texts)
    plan = small_plan(captions, short_settings(method, tiny_model, teacher=teacher), tmp_path)
    train_hash_models(replace(plan, baselines=texts), Kept())
    facts = json.loads((plan.out / "run.json").read_text())
    assert facts["towers"]["teacher"].startswith("features-")
    assert (plan.out / "model-16" / "model.json").exists()
    cached = [np.load(path).shape[1] for path in plan.cache.glob("*.npy")]
    assert cached == [BackboneTower(str(tiny_model), layers=True).width]  # the student's view of the photos


def refusal(dataset: ImageTextDataset, tiny_model: Path, folder: Path, method: str, **settings: Any) -> str:
    plan = small_plan(dataset, short_settings(method, tiny_model, **settings), folder)
    with pytest.raises(HashcliError) as refused:
        train_hash_models(plan, Kept())
    assert not plan.out.exists()  # so that the same command goes on where the files have been put right
    return str(refused.value)


def test_what_vectors_cannot_do_is_refused(captions: ImageTextDataset, tiny_model: Path, tmp_path: Path) -> None:
    both = save_vectors(captions, tmp_path / "both.npz")
    alone = save_vectors(captions, tmp_path / "alone.npz", texts=False)

    def refused(method: str, **settings: Any) -> str:
        return refusal(captions, tiny_model, tmp_path, method, **settings)

    assert "lcdh uses the teacher's vectors of texts" in refused("lcdh", teacher=alone)
    assert "tune_teacher: features without a tower cannot" in refused("ckdh", teacher=both, tune_teacher="full")
    assert "tune_student: features without a tower cannot" in refused("ckdh", student=both, tune_student="last")
    assert f"{tmp_path / 'alone.npz'} holds no vectors of texts" in refused("ckdh", text=alone)
    plan = small_plan(captions, short_settings("ckdh", tiny_model, teacher=alone), tmp_path)
    with pytest.raises(HashcliError, match="The baselines use the teacher's vectors of texts"):
        train_hash_models(replace(plan, baselines=True), Kept())


@pytest.mark.parametrize("text", ["bag", "vectors", "bag+vectors"])
def test_a_student_on_vectors_has_codes_metrics_and_heads(
    captions: ImageTextDataset, tiny_model: Path, tmp_path: Path, text: str
) -> None:
    """The heads alone are graphs, which give the codes again from vectors of unit length."""
    vectors = save_vectors(captions, tmp_path / "vgg.npz")
    settings = short_settings("ckdh", tiny_model, student=vectors, text=text.replace("vectors", vectors))
    plan = small_plan(captions, settings, tmp_path)
    rows = train_hash_models(plan, Kept())
    assert {row["of"] for row in rows} == {"validation", "ckdh's teacher", "ckdh"}
    assert not (plan.out / "model-16").exists()
    image, texts = (onnxruntime.InferenceSession(plan.out / "heads-16" / f"{half}.onnx") for half in ("image", "text"))
    saved, stored = np.load(plan.out / "codes-16.npz"), np.load(tmp_path / "vgg.npz")
    seen = {"features": unit(stored["image_features"]).astype(np.float32)}
    assert np.array_equal(pack(image.run(["output"], seen)[0]), saved["photos"])
    words = plan.out / "heads-16" / "words.txt"
    assert words.exists() == ("bag" in text)
    listed = [one for several in captions.texts for one in several]
    bags = bag_of_words(listed, words.read_text().split()) if words.exists() else np.empty((len(listed), 0))
    by_tower = unit(stored["text_features"]) * (TOWER_NORM if bags.shape[1] else 1)
    seen_texts = np.concatenate([by_tower, bags] if "vectors" in text else [bags], axis=1).astype(np.float32)
    assert np.array_equal(pack(texts.run(["output"], {"features": seen_texts})[0]), saved["texts"])


def test_a_photo_without_a_vector_for_the_student_is_named(
    captions: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    some = replace(captions, images=captions.images[1:])
    told = refusal(captions, tiny_model, tmp_path, "ckdh", student=save_vectors(some, tmp_path / "vgg.npz"))
    assert "1 of 58 photos has no vector" in told


def test_photos_and_texts_of_a_run_without_a_vector_are_named(
    captions: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    teacher = save_vectors(captions, tmp_path / "clip.npz")
    other = replace(captions, texts=[["a text of its own"], *captions.texts[1:]])
    told = refusal(other, tiny_model, tmp_path, "ckdh", teacher=teacher)
    assert "1 of 58 texts has no vector in" in told
    assert "'a text of its own'" in told
    moved = captions.images[0].with_name("other.jpg")
    os.link(captions.images[0], moved)
    other = replace(captions, images=[moved, *captions.images[1:]])
    assert f"1 of 58 photos has no vector in {tmp_path / 'clip.npz'}, for example {str(moved)!r}" in refusal(
        other, tiny_model, tmp_path, "ckdh", teacher=teacher
    )


def test_soda_needs_the_vectors_of_its_prompts_or_none(tiny_model: Path, tmp_path: Path) -> None:
    dataset = small_mirflickr(tmp_path / "data")
    for texts in (True, False):
        teacher = save_vectors(dataset, tmp_path / "clip.npz", texts=texts)
        prompts = short_settings("soda", tiny_model, teacher=teacher)
        with pytest.raises(HashcliError, match='set label_input to "classes"'):
            train_hash_models(small_plan(dataset, prompts, tmp_path, f"prompts-{texts}"), Kept())
        classes = replace(prompts, label_input="classes")  # type: ignore[call-arg]
        assert train_hash_models(small_plan(dataset, classes, tmp_path, f"classes-{texts}"), Kept())


@pytest.mark.parametrize("method", ["itq", "rank"])
def test_a_light_student_of_vectors_without_captions(
    captions: ImageTextDataset, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """Fitted on the sentences of the file, which belong to no photo; there is no teacher to write."""
    teacher = save_vectors(captions, tmp_path / "clip.npz")
    alone = replace(captions, texts=[[] for _ in captions.texts])
    quick = {"steps": 20} if method == "rank" else {}

    def plan(name: str, **settings: Any) -> RunPlan:
        named = {"teacher": teacher, "student": str(tiny_model), "text": "bag"} | settings
        return small_plan(alone, resolve_settings(method=method, bits=(16,), **named | quick), tmp_path, name)

    run = plan("run")
    rows = train_hash_models(run, Kept())
    assert {row["of"] for row in rows} == {"teacher", "student"}
    assert not (run.out / "teacher-16" / "model.json").exists()
    assert HashModel(run.out / "student-16").encode_texts(["common tag7"]).shape == (1, 16)
    card = " ".join((run.out / "student-16" / "README.md").read_text().split())
    assert f"a light student of hash layers on the vectors in {tmp_path / 'clip.npz'}" in card
    assert "52 sentences: 0 captions of these photos, the others from the teacher's files" in card

    for settings in ({"text": "teacher"}, {"student": "none"}):
        with pytest.raises(HashcliError, match="Vectors in a file are no model, so all that can be made is a student"):
            train_hash_models(plan("refused", **settings), Kept())
    with pytest.raises(HashcliError, match="student: vectors in a file cannot encode new photos"):
        train_hash_models(plan("refused", student=teacher), Kept())
    with pytest.raises(HashcliError, match="beside a model is for methods that learn from pairs"):
        train_hash_models(plan("refused", text=f"bag+{tiny_model}"), Kept())
    photos = save_vectors(captions, tmp_path / "photos.npz", texts=False)
    with pytest.raises(HashcliError, match="has 0 vectors of texts, which are too few"):
        train_hash_models(plan("refused", teacher=photos), Kept())
    assert not (tmp_path / "refused").exists()
