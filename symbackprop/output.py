"""Writing results: a file is written whole or not at all."""

from __future__ import annotations

import os
import tempfile

from symbackprop.errors import OutputError


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
