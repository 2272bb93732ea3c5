"""Texts and file names as they may be shown."""


def printable(text: str) -> str:
    """A text to be shown: line ends, terminal controls and bytes that are not UTF-8 in a file name are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
