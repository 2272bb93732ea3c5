"""Which files beside a photo say something about it, by their names."""

import pytest

from hashcli.index.files.metadata_files import metadata_files

LONG = "a name of a photo that is longer than its JSON may have.jpg"


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("dog.jpg", "dog.xmp"),
        ("dog.jpg", "dog.XMP"),
        ("dog.jpg", "dog.jpg.xmp"),
        ("cafe\u0301.jpg", "caf\u00e9.xmp"),
        ("dog.jpg", "dog.jpg.json"),
        ("dog.JPG", "dog.JPG.supplemental-metadata.json"),
        ("dog.jpg", "dog.jpg.supplemental-metada.json"),
        ("dog.jpg", "dog.jpg.suppl.json"),
        ("dog.jpg", "dog.jpg..json"),
        ("dog(1).jpg", "dog.jpg(1).json"),
        ("dog(1).jpg", "dog(1).jpg.json"),
        ("dog(12).jpg", "dog.jpg.supplemental-metadata(12).json"),
        ("dog-edited.jpg", "dog.jpg.json"),
        ("dog-edited(2).jpg", "dog.jpg.supplemental-metadata(2).json"),
        ("dog-bearbeitet.jpg", "dog.jpg.supplemental-metadata.json"),
        (LONG, f"{LONG[:46]}.json"),
        (f"{LONG[:47]}.jpg", f"{LONG[:46]}.json"),  # Takeout cuts names of photos too
        (f"{LONG[:40]}.jpg", f"{LONG[:40]}.jpg.s.json"),
        (f"{LONG[:40]}.jpg", f"{LONG[:40]}.jpg.json"),
        (f"{LONG[:40]}(3).jpg", f"{LONG[:40]}.jpg.s(3).json"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg.json"),
    ],
)
def test_a_file_about_a_photo(photo: str, name: str) -> None:
    photos = [photo, "other.jpg", "a.png"]
    assert metadata_files(photos, [name, "unrelated.json", "unrelated.xmp"]) == {photo: [name]}


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("dog.jpg", "dog.json"),
        ("dog.jpg", "metadata.json"),
        ("dog.jpg", "dog.jpg(1).json"),
        ("dog(1).jpg", "dog.jpg.json"),
        ("dog.jpg", "dog.jpg.settings.json"),
        ("dog.jpg", "dog.png.json"),
        ("dog.jpg", ".json"),
        ("dog.jpg", "dog_01.xmp"),
    ],
)
def test_a_file_about_nothing_here(photo: str, name: str) -> None:
    assert metadata_files([photo], [name]) == {}


def test_a_photo_and_its_edited_version_share_one_file() -> None:
    shared = metadata_files(["dog.jpg", "dog-edited.jpg"], ["dog.jpg.json"])
    assert shared == {"dog.jpg": ["dog.jpg.json"], "dog-edited.jpg": ["dog.jpg.json"]}


def test_a_cut_name_that_fits_two_photos_is_of_neither() -> None:
    photos = [f"{LONG[:46]} one.jpg", f"{LONG[:46]} two.jpg"]
    assert metadata_files(photos, [f"{LONG[:46]}.json"]) == {}


def test_a_photo_may_have_several_files() -> None:
    files = ["1.jpg.json", "1.jpg.xmp", "1.xmp"]
    assert metadata_files(["1.jpg", "1.cr2"], files) == {"1.jpg": files}
