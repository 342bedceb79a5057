"""Each module imports only from rows above its own; what is imported late stays out of a cold start."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

import symbackprop

PACKAGE = Path(symbackprop.__file__).parent

ROWS = (
    "errors indices",
    "symbols",
    "functions",
    "normal",
    "network notation",
    "rules verdict",
    "derivation oracle",
    "derive check sympy_bridge read correspond",
    "matrix further",
    "own compile render models output equations",
    "report",
    "judge",
    "numbers translate codecheck",
    "api testing",
    "batch",
    "cluster",
    "commands",
    "cli",
)
ROW = {name: n for n, row in enumerate(ROWS) for name in row.split()}


def module_of(path: Path) -> str:
    """The module of the table that a file belongs to: a folder counts as one."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if module_of(p) not in ("__init__", "__main__")]


@lru_cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> list[tuple[str, int]]:
    """Every module of the package that a file imports, for types alone apart, with its line."""
    tree = parsed(path)
    typing = {
        id(n)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and getattr(test.test, "id", "") == "TYPE_CHECKING"
        for n in ast.walk(test)
    }
    out = []
    for n in ast.walk(tree):
        if id(n) in typing:
            continue
        if isinstance(n, ast.ImportFrom) and n.module and n.module.split(".")[0] == "symbackprop":
            parts = n.module.split(".")[1:]
            targets = [parts[0]] if parts else [a.name for a in n.names]
            out += [(t, n.lineno) for t in targets]
        elif isinstance(n, ast.ImportFrom) and n.level:
            out.append((f"relative import of {n.module}", n.lineno))
        elif isinstance(n, ast.Import):
            out += [(a.name.split(".")[1], n.lineno) for a in n.names if a.name.startswith("symbackprop.")]
    return [t for t in out if t[0] not in ("__version__",)]


def upward(path: Path) -> list[str]:
    here = module_of(path)
    return [
        f"{path.relative_to(PACKAGE)}:{line} imports {there}"
        for there, line in imports(path)
        if there != here and ROW.get(there, len(ROWS)) >= ROW[here]
    ]


def test_every_module_has_a_row() -> None:
    assert {module_of(p) for p in files()} == set(ROW)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upward_in_the_table(path: Path) -> None:
    assert upward(path) == []


def test_a_planted_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_layers.PACKAGE", tmp_path)
    (tmp_path / "symbols.py").write_text("def f():\n    from symbackprop.derive import derive\n")
    assert upward(tmp_path / "symbols.py") == ["symbols.py:2 imports derive"]


def test_the_oracle_shares_nothing_with_the_engine() -> None:
    assert not {"rules", "derive", "derivation"} & {m for m, _ in imports(PACKAGE / "oracle.py")}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_text_of_a_user_is_evaluated(path: Path) -> None:
    forbidden = {"eval", "sympify", "parse_expr", "parse_latex", "pickle", "loads"}
    tree = parsed(path)
    called = {getattr(n.func, "id", getattr(n.func, "attr", "")) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not called & forbidden
