"""Small datasets in the publishers' layouts, made of real photos; and where the real datasets are, if anywhere.

HASHCLI_TEST_DATA names the folder that holds `flickr8k/` and `mirflickr25k/`; tests that need one skip without it.
"""

import json
import os
import shutil
from pathlib import Path

from hashcli.datasets.nuswide import CONCEPTS_21
from tests.conftest import PHOTOS, SKIMAGE

DATA = Path(os.environ.get("HASHCLI_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
JPEGS = [name for name in PHOTOS if name.endswith(".jpg")]


def make_mirflickr(root: Path, photos: int) -> Path:
    """Odd photos show a dog and even ones the sky; photo 3 has no tags, and photo 4 no label."""
    tags = root / "mirflickr" / "meta" / "tags"
    tags.mkdir(parents=True)
    for number in range(1, photos + 1):
        shutil.copy(SKIMAGE / JPEGS[number % len(JPEGS)], root / "mirflickr" / f"im{number}.jpg")
        (tags / f"tags{number}.txt").write_text("" if number == 3 else f"common\ntag{number}\n")
    annotations = root / "mirflickr25k_annotations_v080"
    annotations.mkdir()
    shown = {
        "dog": [number for number in range(1, photos + 1) if number % 2],
        "sky": [number for number in range(1, photos + 1) if number % 2 == 0 and number != 4],
        "dog_r1": [1],
    }
    for name, numbers in shown.items():
        (annotations / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    return root


def make_flickr8k(root: Path, train: int, dev: int) -> Path:
    """Photos numbered in order, first those of train, each with five captions that name its number."""
    (root / "Flicker8k_Dataset").mkdir(parents=True)
    names = [f"photo{number}.jpg" for number in range(train + dev)]
    for number, name in enumerate(names):
        shutil.copy(SKIMAGE / JPEGS[number % len(JPEGS)], root / "Flicker8k_Dataset" / name)
    lines = [f"{name}#{i}\tcaption {i} of photo {number}" for number, name in enumerate(names) for i in range(5)]
    (root / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (root / "Flickr_8k.trainImages.txt").write_text("\n".join(names[:train]) + "\n")
    (root / "Flickr_8k.devImages.txt").write_text("\n".join(names[train:]) + "\n")
    return root


def make_coco(root: Path, year: int = 2017) -> Path:
    """Train has photos 1 to 4 and val 5 and 6. A photo of even number shows a dog, every third a cat as well; photo 1
    shows nothing, and photo 4 is not on disk."""
    shown = {2: [18], 3: [17], 4: [18], 5: [17, 17], 6: [17, 18]}
    (root / "annotations").mkdir(parents=True)
    for part, numbers in (("train", [1, 2, 3, 4]), ("val", [5, 6])):
        folder = root / f"{part}{year}"
        folder.mkdir()
        photos = [{"id": number, "file_name": f"{number:012}.jpg"} for number in numbers]
        for photo in photos:
            if photo["id"] != 4:
                shutil.copy(SKIMAGE / JPEGS[0], folder / str(photo["file_name"]))
        captions = [
            {"image_id": n, "id": 10 * n + i, "caption": f"caption {i} of {n}\n"} for n in numbers for i in (0, 1)
        ]
        instances = [
            {"image_id": number, "category_id": category, "segmentation": [[0.5, 1.5]]}
            for number in numbers
            for category in shown.get(number, [])
        ]
        categories = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
        for kind, more in (
            ("captions", {"annotations": captions}),
            ("instances", {"annotations": instances, "categories": categories}),
        ):
            (root / "annotations" / f"{kind}_{part}{year}.json").write_text(json.dumps({"images": photos} | more))
    return root


def make_nuswide(root: Path) -> Path:
    """Six photos: 0 of an animal at a lake, 1 of a tree, which is not among the 10 concepts, 2 without a concept, 3 of
    the sky without a tag, 4 of the sky but not on disk, 5 of clouds in the sky."""
    shown = {"animal": [0], "lake": [0], "tree": [1], "sky": [3, 4, 5], "clouds": [5]}
    tags = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    names = [f"{'actor' if number < 3 else 'zoo'}\\{number:04}_{900 + number}.jpg" for number in range(6)]
    for folder in ("ImageList", "Groundtruth/AllLabels", "NUS_WID_Tags", "Flickr/actor", "Flickr/zoo"):
        (root / folder).mkdir(parents=True)
    (root / "ImageList" / "Imagelist.txt").write_text("".join(f"{name}\n" for name in names))
    for number, name in enumerate(names):
        if number != 4:
            shutil.copy(SKIMAGE / JPEGS[0], root / "Flickr" / name.replace("\\", "/"))
    for concept in CONCEPTS_21:
        lines = "".join(f"{int(number in shown.get(concept, []))}\n" for number in range(6))
        (root / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt").write_text(lines)
    (root / "NUS_WID_Tags" / "TagList1k.txt").write_text("nature\nred\nblue\n")
    rows = "".join("\t".join(map(str, row)) + "\t\n" for row in tags)
    (root / "NUS_WID_Tags" / "AllTags1k.txt").write_text(rows)
    return root


def make_iapr(root: Path, labels: bool) -> Path:
    """Photos 9, 10 and 11 in folder 00 and 1000 in 01. Photo 10 has no description and photo 11 no region."""
    for number, folder in ((9, "00"), (10, "00"), (11, "00"), (1000, "01")):
        for kind in ("images", "annotations_complete_eng"):
            (root / "iaprtc12" / kind / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(SKIMAGE / JPEGS[0], root / "iaprtc12" / "images" / folder / f"{number}.jpg")
        if number != 10:
            text = (
                f"<DOC>\n<TITLE>T & T</TITLE>\n<DESCRIPTION>a caf\xe9 &amp; {number}\n people;</DESCRIPTION>\n</DOC>\n"
            )
            path = root / "iaprtc12" / "annotations_complete_eng" / folder / f"{number}.eng"
            path.write_text(text, encoding="latin-1")
    if labels:
        extension = root / "saiaprtc12ok" / "benchmark" / "saiapr_tc-12"
        (extension / "00").mkdir(parents=True)
        (extension / "01").mkdir()
        (extension / "wlist.txt").write_text("29\tbranch\n30\tbridge\n60\tcloud\n")
        (extension / "00" / "labels.txt").write_text("9\t1\t60\n9\t2\t29\n9\t3\t60\n10\t1\t29\n")
        (extension / "01" / "labels.txt").write_text("1000\t1\t60\n")
    return root


def copy_photos(folder: Path, names: list[str]) -> None:
    """One small photo under each of the names, which may have folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SKIMAGE / JPEGS[0], folder / name)


def make_flickr_of_kaggle(root: Path) -> Path:
    """Flickr8k as Kaggle has it: no lists of parts, and a CSV in which some captions are quoted."""
    copy_photos(root / "Images", ["1_a.jpg", "2_b.jpg"])
    lines = ["1_a.jpg,A dog runs .", '1_a.jpg,"A dog , wet , runs ."', "2_b.jpg,A child .", "3_c.jpg,Not on disk ."]
    (root / "captions.txt").write_text("image,caption\n" + "\n".join(lines) + "\n")
    return root


def make_flickr30k(root: Path, form: str, photos: str = "flickr30k-images") -> Path:
    """Photos 1 to 4 with two captions each in one of the forms; in Kaggle's, a bar is missing as in the true file."""
    names = [f"{number}.jpg" for number in (1, 2, 3, 4)]
    copy_photos(root / photos, names)
    texts = {name: [f"{name} is one .", f"{name} is two ."] for name in names}
    rows = [(name, number, text) for name in names for number, text in enumerate(texts[name])]
    if form == "results_20130124.token":
        (root / form).write_text("".join(f"{name}#{number}\t{text}\n" for name, number, text in rows))
    elif form == "results.csv":
        lines = [f"{name}| {number}| {text}" for name, number, text in rows]
        lines[3] = lines[3].replace("| 1| ", "| 1   ")
        (root / form).write_text("image_name| comment_number| comment\n" + "\n".join(lines) + "\n")
    else:
        write_karpathy(root / form, [(name, "", part) for name, part in zip(names, PARTS_OF_4, strict=True)], texts)
    return root


PARTS_OF_4 = ["test", "train", "val", "train"]


def write_karpathy(path: Path, photos: list[tuple[str, str, str]], texts: dict[str, list[str]]) -> None:
    """A list as Karpathy's, of photos as (file, folder, part)."""
    listed = []
    for number, (file, folder, part) in enumerate(photos):
        sentences = [{"raw": text, "tokens": text.split(), "imgid": number} for text in texts[file]]
        photo = {"filename": file, "split": part, "imgid": number, "sentences": sentences}
        listed.append(photo | ({"filepath": folder, "cocoid": number} if folder else {}))
    path.write_text(json.dumps({"images": listed, "dataset": path.stem}))


def make_wikipedia(root: Path) -> Path:
    """Three pairs to train and two to test, of art, sport and warfare; the photo of the third is not on disk."""
    pairs = [("t-1", "p1", 1), ("t-2", "p2", 9), ("t-3", "p3", 1), ("t-4", "p4", 10), ("t-5", "p5", 9)]
    (root / "texts").mkdir(parents=True)
    for text, photo, category in pairs:
        content = f"<text>The {text} &amp; <b>its</b>\n photo.</text>"
        (root / "texts" / f"{text}.xml").write_text(f"<?xml version='1.0'?><document>{content}</document>")
        if photo != "p3":
            copy_photos(root / "images", [f"{['art', 'sport', 'warfare'][(1, 9, 10).index(category)]}/{photo}.jpg"])
    for name, part in (("trainset", pairs[:3]), ("testset", pairs[3:])):
        lines = "".join("\t".join(map(str, pair)) + "\n" for pair in part)
        (root / f"{name}_txt_img_cat.list").write_text(lines)
    return root
