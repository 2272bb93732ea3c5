"""Texts and file names made safe to show."""


def printable(text: str) -> str:
    """The text with escapes for line ends, terminal controls, and bytes of a file name that are not UTF-8."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
