"""The built-in models: the files of the folder `library`, one for each. A new model is a new file there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from symbackprop.errors import ModelError, UnknownNameError, nearest
from symbackprop.notation import DEEPLIZARD, Notation

if TYPE_CHECKING:
    from symbackprop.read.model import Model as ReadModel

LIBRARY = Path(__file__).parent / "library"

MAX_BYTES = 1_000_000
"""No model is longer; a larger file is refused before it is read."""


@dataclass(frozen=True)
class Model:
    """A model file.

    Args:
        name: How it is asked for.
        title, source: What the file says of itself.
    """

    name: str
    path: Path
    title: str = ""
    source: str = ""


@cache
def models() -> dict[str, Model]:
    """The built-in models by name.

    >>> models()["attention"].title
    'Scaled dot-product attention'
    """
    return {p.stem: described(p.stem, p) for p in sorted(LIBRARY.glob("*.tex"), key=lambda p: p.stem)}


def described(name: str, path: Path) -> Model:
    """A model with its title and source, which stand in the first lines of the file."""
    said: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.removeprefix("%|").strip().partition(" ")
        if line.startswith("%|") and word in ("title", "source"):
            said.setdefault(word, rest.strip())
    return Model(name, path, said.get("title", ""), said.get("source", ""))


def find_model(name: str | os.PathLike[str]) -> Model:
    """A built-in model by name, or the model file at a path: what ends in .tex, or names a file, is one.

    Raises:
        UnknownNameError: There is none of that name.
        ModelError: There is no such file.

    >>> find_model("nielsen").name
    'nielsen'
    """
    try:
        text = os.fspath(name)
    except TypeError:
        raise ModelError(
            f"a model is a name or the path of a file, found {type(name).__name__}; see 'symbackprop models'"
        ) from None
    if text in models():
        return models()[text]
    path = Path(text)
    if path.suffix == ".tex" or len(path.parts) > 1 or path.is_file():
        if not path.is_file():
            raise ModelError(f"there is no file {text}; built-in models are read by name: see 'symbackprop models'")
        return Model(path.stem, path)
    raise UnknownNameError(f"no model is called {text!r}{nearest(text, models())}")


def read_file(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        ModelError: It cannot be read, or is too large to be a model.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path} has {size:,} bytes; a model file has at most {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path} cannot be read: {e.strerror}") from None


@cache
def library_model(name: str) -> ReadModel:
    """A built-in model, read."""
    return read(models()[name])


def read(model: Model, sizes: Mapping[str, int] | None = None) -> ReadModel:
    """The network and the notation of a model file; both are called by the model's name."""
    from symbackprop.read.model import read_model

    found = read_model(read_file(model.path), sizes=sizes)
    return replace(found, notation=replace(found.notation, name=model.name))


def find_notation(name: str | Notation) -> Notation:
    """A notation: that of a built-in model, or of a model file.

    >>> find_notation("nielsen").first
    1

    Raises:
        UnknownNameError: There is none of that name.
    """
    if isinstance(name, Notation):
        return name
    if name == DEEPLIZARD.name:
        return DEEPLIZARD
    try:
        model = find_model(name)
    except UnknownNameError:
        raise UnknownNameError(f"no notation is called {name!r}{nearest(str(name), models())}") from None
    return library_model(model.name).notation if model == models().get(model.name) else read(model).notation
