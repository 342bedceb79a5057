"""The Markdown cells of a Jupyter notebook, and where each of their characters stands in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from symbackprop.errors import ReadError
from symbackprop.read.handin.pieces import LONE_RETURN, SURROGATE, Section
from symbackprop.read.lexer import Source

MAX_CELLS = 5_000

STRING = r'"(?:[^"\\]|\\.)*"'
LEXEME = re.compile(rf"(?P<string>{STRING})|(?P<mark>[{{}}\[\],:])|[^\s\"{{}}\[\],:]+", re.DOTALL)
PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
CHARACTER = re.compile(rf"{PAIR}|\\u[0-9a-fA-F]{{4}}|\\.|[^\\]", re.DOTALL)

Path = tuple[str | int, ...]


def looks_like_notebook(text: str) -> bool:
    return text.lstrip()[:1] == "{" and '"cells"' in text and ('"cell_type"' in text or '"nbformat"' in text)


def markdown_cells(whole: Source) -> tuple[list[Section], int]:
    """The Markdown cells in order, and how many other cells there are.

    Raises:
        ReadError: No notebook.
    """
    cells = list_of_cells(whole)
    origins = dict(cell_origins(whole.text))
    out: list[Section] = []
    for n, cell in enumerate(cells):
        if not isinstance(cell, dict) or cell.get("cell_type") != "markdown":
            continue
        source = cell.get("source", "")
        lines = [source] if isinstance(source, str) else source if isinstance(source, list) else []
        text = "".join(s for s in lines if isinstance(s, str))
        text = LONE_RETURN.sub("\n", SURROGATE.sub("\ufffd", text))
        origin = origins.get(n, [])
        if len(origin) == len(text) and text:
            out.append(Section(text, whole, [*origin, origin[-1] + 1], n + 1))
        elif text:
            out.append(Section(text, Source(text), range(len(text) + 1), n + 1))
    return out, len(cells) - len(out)


def list_of_cells(whole: Source) -> list[object]:
    try:
        notebook = json.JSONDecoder(parse_int=str, parse_float=str).decode(whole.text)
    except json.JSONDecodeError as e:
        raise ReadError(f"no notebook: {e.msg}; expected JSON", "", e.colno, e.lineno) from None
    except RecursionError:
        raise ReadError("no notebook: nested too deeply", "", 1, 1) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ReadError('no notebook: it has no list of "cells"', "", 1, 1)
    if len(cells) > MAX_CELLS:
        raise ReadError(f"too large: {len(cells)} cells, at most {MAX_CELLS} are read", "", 1, 1)
    return cells


def cell_origins(text: str) -> Iterator[tuple[int, list[int]]]:
    """For each cell the offsets in the file of the characters of its source; for JSON known to be well-formed."""
    cell, origin = -1, list[int]()
    for path, start, end in strings(text):
        if len(path) not in (3, 4) or path[0] != "cells" or path[2] != "source":
            continue
        if isinstance(number := path[1], int):
            if number != cell and cell >= 0:
                yield cell, origin
            if number != cell:
                cell, origin = number, []
            origin.extend(characters(text, start + 1, end - 1))
    if cell >= 0:
        yield cell, origin


def strings(text: str) -> Iterator[tuple[Path, int, int]]:
    """The strings of a JSON text that are values, with the keys and numbers that lead to them, four at most."""
    path: list[str | int] = []
    key_next = False
    for m in LEXEME.finditer(text):
        mark = m["mark"]
        if mark == "{":
            path.append("")
            key_next = True
        elif mark == "[":
            path.append(0)
            key_next = False
        elif mark in ("}", "]"):
            path.pop()
            key_next = False
        elif mark == ",":
            if isinstance(path[-1], int):
                path[-1] += 1
            key_next = isinstance(path[-1], str)
        elif mark == ":":
            key_next = False
        elif m["string"] is not None and key_next:
            path[-1] = m[0][1:-1]
        elif m["string"] is not None and len(path) <= 4:
            yield tuple(path), m.start(), m.end()


def characters(text: str, start: int, end: int) -> Iterator[int]:
    """The offset of each character that a JSON string stands for."""
    return (m.start() for m in CHARACTER.finditer(text, start, end))
