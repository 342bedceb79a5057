"""Writing results: a file is written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

from symbackprop.errors import OutputError, UnknownNameError, nearest


@dataclass(frozen=True)
class Format:
    """One way to render: how it is asked for, the method of `Rendered` that makes it, the file endings that mean it."""

    name: str
    method: str
    endings: tuple[str, ...]


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("text", "text", (".txt",)),
        Format("tex", "latex", (".tex",)),
        Format("md", "markdown", (".md",)),
        Format("html", "html", (".html", ".htm")),
        Format("json", "json", (".json",)),
    )
}


def find_format(name: str) -> Format:
    """A format by name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in FORMATS:
        raise UnknownNameError(f"no format is called {name!r}{nearest(name, FORMATS)}")
    return FORMATS[name]


def format_of_file(path: str | os.PathLike[str]) -> Format:
    """The format that a file's ending means.

    >>> format_of_file("w12.html").name
    'html'

    Raises:
        UnknownNameError: The ending means none.
    """
    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lower()
    for f in FORMATS.values():
        if ending in f.endings:
            return f
    known = [e for f in FORMATS.values() for e in f.endings]
    raise UnknownNameError(
        f"{name}: no format is known for {ending or 'a name without ending'!r}{nearest(ending, known)}"
    )


def write_file(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole, through a temporary file beside it.

    Raises:
        OutputError: The place cannot be written; nothing is left behind.
    """
    target = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(target))
    if os.path.isdir(target):
        raise OutputError(f"cannot write {target}: it is a folder; give a file name in it")
    if not os.path.isdir(folder):
        raise OutputError(f"cannot write {target}: there is no folder {os.path.dirname(target) or '.'}")
    if os.path.exists(target) and not os.path.isfile(target):
        # A device or a pipe (/dev/stdout) cannot be replaced by a file.
        try:
            with open(target, "w", encoding="utf-8") as f:
                f.write(text)
        except OSError as e:
            raise OutputError(f"cannot write {target}: {e.strerror or e}") from None
        return
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".symbackprop-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as f:
            f.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, os.stat(target).st_mode & 0o777 if os.path.exists(target) else 0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as e:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise OutputError(f"cannot write {target}: {e.strerror or e}") from None
