"""The files that an update is to read: what goes in comes out."""

from hashcli.index.catalog import FileState, IndexedFile
from hashcli.index.files.changed import ChangedFile, ChangedFiles


def test_what_goes_in_comes_out() -> None:
    files = ChangedFiles()
    assert list(files) == []
    was = IndexedFile(7, FileState(5, 2**62, None), b"hash", encoded=False, photo="/p/sub/b.png")
    expected = [
        ChangedFile("/p/a.jpg", FileState(1, -2, 3, 4), None, beside=["/p/a.jpg.json", "/p/a.xmp"]),
        ChangedFile("/p/sub/b.txt", FileState(2**40, 2, None), was, photo="/p/sub/b.png"),
        ChangedFile("/p/not utf8 \udcff\n.jpg", FileState(0, 0, 0), IndexedFile(1, FileState(0, 0), b"", encoded=True)),
        ChangedFile("/c.jpg", FileState(1, 2, 3), None),
    ]
    for file in expected:
        number = files.add(file.path, file.state, file.photo, file.beside)
        if file.indexed:
            files.set_indexed(number, file.indexed)
    assert len(files) == 4
    for _ in range(2):
        for file, found in zip(expected, files, strict=True):
            assert (found.path, found.state, found.indexed, found.photo) == (
                file.path,
                file.state,
                file.indexed,
                file.photo,
            )
            assert list(found.beside) == list(file.beside)
