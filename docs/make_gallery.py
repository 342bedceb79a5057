"""Write docs/gallery: one page for each built-in model, and an index of them.

python docs/make_gallery.py [MODEL ...]           write the pages (of these models only)
python docs/make_gallery.py --check [MODEL ...]   write nothing; say whether they are up to date
python docs/make_gallery.py --html [MODEL ...]    write derivations as web pages into out/gallery
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np

from symbackprop import load
from symbackprop.compile.extents import expected, length, solve
from symbackprop.compile.model import ModelGradient, is_layered
from symbackprop.derive import backward_equations
from symbackprop.matrix import NoMatrixForm
from symbackprop.models import Model, library_model, models
from symbackprop.render import formats
from symbackprop.render.latex import Latex
from symbackprop.render.overview import overview
from symbackprop.symbols import Call, walk

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs" / "gallery"
PAGES = ROOT / "out" / "gallery"

GOALS = {
    "batch-normalisation": "x_ij",
    "dropout": "x_ij",
    "layer-normalisation": "x_bij",
    "rms-normalisation": "x_ij",
    "rnn": "W_jm",
    "transformer": "x_bid^l",
    "transformer-block": "x_bid",
}
"""What is derived where the first parameter shows little of what is particular to a model."""

SLOW = ("transformer", "lstm", "gru", "transformer-block", "conv2d")
"""Begun first, so that the others fill the time of the longest."""

SHOWN = ("deeplizard", "rnn", "attention", "conv1d", "layer-normalisation")
"""The derivations that --html writes."""

FUNCTIONS = {"sigma": "sigmoid"}
"""What is put for a generic function in the code; tanh for any other."""

LAYERS = {"3b1b-chain": [1, 1, 1]}
SIZES = {"n_b": 2, "N": 3, "s": 2, "p": 1, "T": 3, "L": 2, "H": 2, "K": 3, "R": 2, "r": 2, "M": 8}
"""Small numbers for sizes and strides; any other size gets one that none of its model has yet."""


MATRIX_LINES = 15
"""So many lines of a matrix form are shown."""

# ---------------------------------------------------------------- the gradient function


def sizes_of(name: str) -> dict[str, int]:
    """A small number for every size of a model that does not follow from others."""
    system = load(name).system
    arrays = [f for f in system.families.values() if f.kind in ("parameter", "input", "target", "derived")]
    wanted = {m for f in arrays for n in range(len(f.axes)) for m in (length(f, n) or system.layers).names}
    wanted |= {*system.integers, *(m for r in system.rules.values() for m in r.names)}
    wanted -= system.rules.keys()
    found = {n: SIZES[n] for n in sorted(wanted) if n in SIZES and system.constants >= {n}}
    if system.rules and "N" in found:
        found["N"] = 6  # the width of an image here, not a number of samples
    spare = iter(range(2, 100))
    for n in sorted(wanted - found.keys()):
        found[n] = next(k for k in spare if k not in found.values())
    return found


def shape_of(family: Any, known: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a family's array in numbers."""
    lengths = (length(family, n) for n in range(len(family.axes)))
    return tuple(n.evaluate(known) for n in lengths if n is not None)


def array_of(family: Any, known: Mapping[str, int]) -> Any:
    """An array for a family: positions where it holds positions, a number where it has no axes."""
    shape = shape_of(family, known)
    return np.zeros(shape, int) if family.over is not None else np.full(shape, 0.5) if shape else 0.5


def generic(system: Any) -> list[str]:
    """The functions that the model does not define."""
    calls = {p.function for e in system.equations for _, p in walk(e.rhs) if isinstance(p, Call)}
    return sorted(n for n in calls if system.function(n) is None and n not in ("exp", "log", "sqrt", "abs"))


def code_of(name: str) -> tuple[str, str]:
    """The call of the gradient function as one writes it, and the code that it runs."""
    net = load(name)
    if is_layered(net.system):
        return layered_code(name)
    functions = {n: FUNCTIONS.get(n, "tanh") for n in generic(net.system)}
    made = f'load("{name}")'
    if functions:
        net = net.with_functions(**functions)
        made += f".with_functions({keywords(functions)})"
    wrt = None if net.system.parameters else [n for n, f in net.system.families.items() if differentiable(net, n, f)]
    sizes = sizes_of(name)
    told = {n: sizes[n] for n in sizes if n in untold(net.system)}
    options = {k: v for k, v in (("wrt", wrt), ("sizes", told)) if v}
    gradient = net.gradient(wrt=wrt, sizes=told)
    assert isinstance(gradient, ModelGradient)
    families, bars = gradient.system.families, net.system.upstream
    known = solve(net.system, {}, sizes)
    data = [n for n, f in families.items() if f.kind in ("parameter", "input", "target") and n not in bars.values()]
    upstream = {o: array_of(families[bar], known) for o, bar in bars.items()}
    gradient({n: array_of(families[n], known) for n in data}, upstream=upstream or None)
    arriving = "upstream={" + ", ".join(f'"{o}": d{o}' for o in bars) + "}" if bars else ""
    if any(map(iskeyword, data)):
        given = ["{" + ", ".join(f'"{n}": {n + "_" if iskeyword(n) else n}' for n in data) + "}", arriving]
    else:
        given = [*(f"{n}={n}" for n in data), arriving]
    lines = [
        f"net = {made}",
        f"gradient = net.gradient({keywords(options)})",
        f"grads = gradient({', '.join(filter(None, given))})",
    ]
    shapes = [f"# {n}: {shape_in_words(families[n])}" for n in data if families[n].axes]
    return "\n".join([*broken(lines), *shapes]), gradient.source


def shape_in_words(family: Any) -> str:
    """(T, N, J), and (J,) for a single axis."""
    names = expected(family)
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def keywords(options: Mapping[str, Any]) -> str:
    """Arguments as they are written in a call."""
    return ", ".join(f"{k}={v!r}".replace("'", '"') for k, v in options.items())


def differentiable(net: Any, name: str, family: Any) -> bool:
    """Data that a gradient can be taken by: real numbers on axes, not positions and not what comes from outside."""
    return (
        family.kind == "input"
        and family.over is None
        and bool(family.axes)
        and name not in net.system.upstream.values()
        and name not in ("m",)
    )


def untold(system: Any) -> set[str]:
    """The numbers that no array tells: strides, and the windows that only sums speak of."""
    axes = {
        m
        for f in system.families.values()
        if f.kind in ("parameter", "input", "target")
        for n in range(len(f.axes))
        for m in (length(f, n) or system.layers).names
    }
    return {n for r in system.rules.values() for n in r.names} - axes | set(system.integers)


def layered_code(name: str) -> tuple[str, str]:
    """As `code_of`, for a network with layers of nodes."""
    sizes = LAYERS.get(name, [4, 3, 2])
    options: dict[str, Any] = {"sizes": sizes}
    if name == "nielsen-general":
        options |= {"loss": "half_sum_squares"}
    try:
        net = load(name, **options)
        unknown = generic(net.system)
    except Exception:  # not a network of `dense`: its sizes go by name
        options = {"sizes": {"L": 2, "n_0": 4, "n_1": 3, "n_2": 2}}
        net = load(name, **options)
        unknown = generic(net.system)
    made = f'load("{name}", {keywords(options)})'
    functions = {n: FUNCTIONS.get(n, "tanh") for n in unknown}
    if functions:
        net = net.with_functions(**functions)
        made += f".with_functions({keywords(functions)})"
    gradient = net.gradient()
    given = {p: [np.full((m,) if p == "b" else (m, n), 0.5) for n, m in pairwise(sizes)] for p in net.system.parameters}
    gradient(given, np.ones((3, sizes[0])), np.ones((3, sizes[-1])))
    lines = [f"net = {made}", "gradient = net.gradient()", "cost, grads = gradient.value_and_grad(params, x, y)"]
    return "\n".join(broken(lines)), gradient.source


def broken(lines: list[str]) -> Iterator[str]:
    """Lines of code, broken at commas of the call where they are long."""
    for line in lines:
        if len(line) <= 100:
            yield line
            continue
        head, _, rest = line.partition("(")
        yield head + "("
        row = "   "
        for part in re.split(r", (?![^{]*\})", rest.removesuffix(")")):
            if len(row) + len(part) > 96:
                yield row
                row = "   "
            row += f" {part},"
        yield row
        yield ")"


# ---------------------------------------------------------------- pages


def demoted(text: str) -> str:
    """Markdown without its first heading, the others one step lower."""
    _, _, rest = text.partition("\n")
    return re.sub(r"^#", "##", rest.strip(), flags=re.MULTILINE)


def for_github(text: str) -> str:
    """Formulas in the fences in which GitHub leaves their backslashes alone."""
    text = re.sub(r"^\$\$\n(.*?)\n\$\$$", r"```math\n\1\n```", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(p if p.startswith("```") else re.sub(r"\$([^$\n]+)\$", r"$`\1`$", p) for p in parts)


def backward(net: Any, derivation: Any) -> str:
    """The whole backward pass as one display: each gradient in terms of those before it."""
    p = Latex(net.system, net.notation)
    record = net.backward().record if net.system.parameters else derivation.record
    rows = []
    for left, right, case in backward_equations(record):
        condition = rf" && ({formats.constraints(case, p)})" if case else ""
        rows.append(f"  {p(left)} &= {p(right)}{condition}")
    return "$$\n\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}\n$$"


def matrices(net: Any) -> str:
    """The matrix form of both passes, where every line has one and there are few; else nothing."""
    forms = net.matrix()
    if len(forms.rows) > MATRIX_LINES or any(isinstance(f, NoMatrixForm) for f in forms):
        return ""
    return demoted(forms.markdown())


def page(name: str) -> tuple[str, str]:
    """The page of one model, and its row of the index."""
    model: Model = models()[name]
    net = load(name)
    understood = demoted(
        formats.markdown(
            overview(net.stated, replace(net.notation, source=""), net.label, library_model(name).provenance)
        )
    )
    derivation = net.derive(GOALS.get(name))
    shown = formats.markdown(derivation._made("brief", None))
    check = derivation._checked(net.notation)
    if check.verdict != "proved":
        raise SystemExit(f"{name}: the check of {derivation!r} says {check.verdict}: {check.line()}")
    call, source = code_of(name)
    goal = Latex(net.system, net.notation)(derivation.goal)
    parts = [
        f"<!-- Written by docs/make_gallery.py from symbackprop/library/{name}.tex. Change it there. -->\n<!-- fmt: off -->",
        f"# {model.title}",
        f"The built-in model `{name}`, after {model.source}. [All models](README.md)",
        "## The model file",
        f"```latex\n{model.path.read_text(encoding='utf-8').strip()}\n```",
        "## What was understood",
        understood,
        f"## The derivation of ${goal}$",
        "In brief. All steps, with the reason for each: "
        f"`symbackprop derive{' ' + repr(GOALS[name]) if name in GOALS else ''} --model {name}`.",
        demoted(shown),
        "## The whole backward pass",
        "Each gradient in terms of others and of the forward pass.",
        backward(net, derivation),
        *(["## In matrices", matrix] if (matrix := matrices(net)) else []),
        "## The gradient function",
        f"```python\n{call}\n```",
        f"<details>\n<summary>The code that it runs, generated from the derivation</summary>\n\n"
        f"```python\n{source.strip()}\n```\n\n</details>",
    ]
    row = f"| [{name}]({name}.md) | {model.title} | ${goal}$ | {len(derivation.record.steps)} | {check.verdict} |"
    return for_github("\n\n".join(parts) + "\n"), for_github(row)


def index(rows: Mapping[str, str]) -> str:
    """The index: a table of all models."""
    return (
        "<!-- Written by docs/make_gallery.py. -->\n\n"
        "# The gallery\n\n"
        "Every built-in model: its file, what was understood of it, a derivation in brief with its check, and the code of its\n"
        "gradient. All of it comes from the model file; nothing here was written by hand. The last columns: the gradient that\n"
        "the page derives, how many steps that took, and the verdict of the check.\n\n"
        "| model | what it is | derived | steps | check |\n|---|---|---|---|---|\n"
        + "\n".join(rows[n] for n in sorted(rows))
        + "\n\n[Write a model of your own](../write-your-model.md).\n"
    )


def pages(names: list[str]) -> dict[str, tuple[str, str]]:
    """The pages of these models, made side by side."""
    ordered = sorted(names, key=lambda n: (n not in SLOW, SLOW.index(n) if n in SLOW else 0, n))
    with ProcessPoolExecutor(max_workers=min(len(ordered), os.cpu_count() or 1)) as workers:
        return dict(zip(ordered, workers.map(page, ordered), strict=True))


def listed() -> dict[str, str]:
    """The rows of the index as it stands."""
    target = GALLERY / "README.md"
    text = target.read_text(encoding="utf-8") if target.exists() else ""
    return {m[1]: m[0] for m in re.finditer(r"^\| \[([\w-]+)\].*$", text, re.MULTILINE)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    parser.add_argument("--html", action="store_true", help="write web pages of derivations into out/gallery")
    options = parser.parse_args()
    unknown = [n for n in options.models if n not in models()]
    if unknown:
        parser.error(f"no model is called {unknown[0]}")
    if options.html:
        PAGES.mkdir(parents=True, exist_ok=True)
        for name in options.models or SHOWN:
            load(name).derive(GOALS.get(name)).save(PAGES / f"{name}.html")
            print(f"wrote {(PAGES / name).relative_to(ROOT)}.html")
        return 0
    made = pages(options.models or list(models()))
    rows = {n: r for n, r in listed().items() if n in models()} | {n: row for n, (_, row) in made.items()}
    texts = {GALLERY / f"{n}.md": text for n, (text, _) in made.items()} | {GALLERY / "README.md": index(rows)}
    stray = [p for p in GALLERY.glob("*.md") if p.stem not in models() and p.name != "README.md"]
    if options.check:
        old = [p for p, text in texts.items() if not p.exists() or p.read_text(encoding="utf-8") != text] + stray
        for p in old:
            print(f"{p.relative_to(ROOT)} is out of date: run python docs/make_gallery.py", file=sys.stderr)
        return 1 if old else 0
    GALLERY.mkdir(exist_ok=True)
    for p in stray:
        p.unlink()
    for p, text in texts.items():
        p.write_text(text, encoding="utf-8")
    print(f"wrote docs/gallery: {len(texts)} pages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
