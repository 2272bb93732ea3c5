"""Addresses of collections."""

import pytest

from hashcli.errors import HashcliError
from hashcli.index.milvus_address import MilvusAddress, is_milvus_address, without_passwords
from hashcli.index.milvus_index import PublishedIndex


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("milvus://photos:19531/archive", ("photos", 19531, "archive", False), "milvus://photos:19531/archive"),
        ("milvus://127.0.0.1/a_1", ("127.0.0.1", 19530, "a_1", False), "milvus://127.0.0.1:19530/a_1"),
        ("milvus+tls://[::1]:2/a", ("::1", 2, "a", True), "milvus+tls://[::1]:2/a"),
    ],
)
def test_an_address_is_read_and_shown(text: str, address: tuple[object, ...], shown: str) -> None:
    parsed = MilvusAddress.parse(text)
    assert parsed == address
    assert str(parsed) == shown
    assert MilvusAddress.parse(shown) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "milvus://photos",
        "milvus:///a",
        "milvus://h/a b",
        "milvus://h/1a",
        "milvus://h:x/a",
        "http://h/a",
        "milvus://h/a?b",
    ],
)
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(HashcliError) as raised:
        MilvusAddress.parse(text)
    assert text in raised.value.problem


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(HashcliError) as raised:
        MilvusAddress.parse("milvus://ann:s3cret@photos/archive")
    assert "s3cret" not in str(raised.value)
    assert "HASHCLI_MILVUS_TOKEN" in raised.value.remedy
    command = "index --publish milvus+tls://ann:s3c@ret@photos/archive /home/x@y"
    assert without_passwords(command) == "index --publish milvus+tls://...@photos/archive /home/x@y"


def test_folders_are_no_addresses() -> None:
    assert not any(is_milvus_address(text) for text in ("milvus", "./milvus:/a", "https://photos.example/a", None))


@pytest.mark.parametrize("name", ["catalog", "folder"])
def test_a_collection_has_no_catalog_and_no_folder_and_says_so(name: str) -> None:
    """No server is asked."""
    index = PublishedIndex(MilvusAddress.parse("milvus://127.0.0.1:1/archive"))
    with pytest.raises(HashcliError, match="can be searched, and nothing else"):
        getattr(index, name)
