"""Hand-ins come from strangers: their text runs nothing, opens nothing, and is refused before it costs anything.

By reading the code that a check passes through, and at run time with everything that could run text made to fail.
"""

from __future__ import annotations

import ast
import builtins
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import symbackprop
from symbackprop import load
from symbackprop.report import VERDICTS

PACKAGE = Path(symbackprop.__file__).parent

REACHED = (
    *sorted((PACKAGE / "judge").rglob("*.py")),
    *sorted((PACKAGE / "read").rglob("*.py")),
    *sorted((PACKAGE / "render").glob("findings*.py")),
    PACKAGE / "report.py",
)
"""What the text of a hand-in, or a finding on it, passes through."""

CALLS = {
    "eval", "exec", "compile", "__import__", "open", "input", "globals", "breakpoint",
    "sympify", "S", "parse_expr", "parse_latex", "lambdify", "nsimplify", "import_module",
}  # fmt: skip
"""Functions that run text, read files by name, or do so when given a string."""

ATTRIBUTES = CALLS - {"compile", "open", "S", "input"}
"""Of these, methods of our own and `re.compile` have the names that are left out."""

FILES = {"read_text", "read_bytes", "write_text", "write_bytes", "unlink", "touch"}

MODULES = {
    "pickle", "shelve", "marshal", "subprocess", "importlib", "runpy", "code", "codeop", "ctypes", "socket", "urllib",
    "tempfile", "shutil", "sympy", "latexify", "numpy", "jinja2", "yaml", "builtins",
}  # fmt: skip


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that a check must not make, with their lines."""
    for n in ast.walk(tree):
        if isinstance(n, ast.Call):
            f = n.func
            if isinstance(f, ast.Name) and f.id in CALLS:
                yield n.lineno, f.id
            if isinstance(f, ast.Attribute) and (f.attr in ATTRIBUTES or f.attr in FILES):
                yield n.lineno, f.attr
            if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "os":
                yield n.lineno, f"{f.value.id}.{f.attr}"


def modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Modules from outside that are imported anywhere, within functions too."""
    for n in ast.walk(tree):
        if isinstance(n, ast.Import):
            yield from ((n.lineno, a.name) for a in n.names)
        elif isinstance(n, ast.ImportFrom) and n.module is not None:
            yield n.lineno, n.module


@pytest.mark.parametrize("path", REACHED, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_on_the_way_runs_text_or_opens_files(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(calls(tree)) == []
    assert [m for m in modules(tree) if m[1].split(".")[0] in MODULES] == []
    assert [m for m in modules(tree) if "codecheck" in m[1] or "sympy_bridge" in m[1]] == []


@pytest.mark.parametrize(
    "code",
    ["eval(x)", "open(x)", "__import__(x)", "sympy.sympify(x)", "parse_expr(x)", "os.system(x)", "Path(x).read_text()"],
)
def test_the_reading_above_sees_each(code: str) -> None:
    assert list(calls(ast.parse(code)))


def test_the_check_command_does_not_reach_functions_of_users() -> None:
    """`check_function` runs code, and says so; what it lives in is imported nowhere on the way of a check."""
    for name in ("batch.py", "cluster.py", "commands.py", "cli.py", "report.py"):
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        assert [m for m in modules(tree) if "codecheck" in m[1] or m[1].endswith("testing")] == []
        assert not any(isinstance(n, ast.Attribute) and n.attr == "check_function" for n in ast.walk(tree))


# ---------------------------------------------------------------- at run time

NESTED, DEEP = 300, 1500

HOSTILE = {
    "input": r"\input{/etc/passwd} = 1",
    "include": r"\include{/etc/passwd} $a = b$ \verbatiminput{/etc/passwd} \lstinputlisting{/etc/passwd}",
    "write18": r"\write18{touch /tmp/owned} = 0",
    "openin": r"\openin5=/etc/passwd \read5 to \x $C_0 = \x$",
    "csname": r"\csname eval\endcsname{1} = 1",
    "catcode": r"\catcode`\@=11 C_0 = 0",
    "import": r'\mathrm{__import__("os").system("touch /tmp/owned")} = 1',
    "import in an index": r'w_{__import__("os").getpid()} = 1',
    "import in a function": r'\operatorname{__import__("os").getpid}(1) = 1',
    "import as text": r'\text{__import__("os").system("id")} = C_0',
    "lambda": r"(lambda: 0).__class__.__bases__[0].__subclasses__() = 1",
    "format": r"{0.__class__} %s %(x)s {x!r} = {}",
    "tower": r"9^{9^{9^9}} = 1",
    "tower of twos": "2" + "^{2" * 60 + "}" * 60 + " = 1",
    "tower of quantities": r"C_0^{C_0^{C_0^{C_0^{C_0}}}} = 1",
    "number to a power": r"2^{999999999} = 1",
    "quantity to a power": r"y_1^{999999999} = 1",
    "quantity to a negative power": r"y_1^{-99999999} = 1",
    "exponentials": r"e^{e^{e^{e^{e^{9}}}}} = 1",
    "power of a root": r"\sqrt{2}^{999999999} = 1",
    "powers of powers": r"\left(\left(\left(2^{999}\right)^{999}\right)^{999}\right)^{999} = 1",
    "root of a large number": r"\sqrt{" + "9" * 3000 + "} = 1",
    "quotient of powers": r"\frac{1}{\left(1 + y_1^{99}\right)^{99}} = 1",
    "power of a sum": r"\left(\sum_j a_j^{(L)} + \sum_j y_j\right)^{99999} = 1",
    "root": r"C_0^{1/999999999999} = C_0^{999999999999/2}",
    "factorial": r"99999999! = 1",
    "factorials": r"24!!!!!!! = 1",
    "binomial": r"\binom{99999999}{5555555} = 1",
    "parentheses": "(" * NESTED + "1" + ")" * NESTED + " = 1",
    "lefts": r"\left(" * NESTED + "C_0" + r"\right)" * NESTED + " = C_0",
    "fractions": r"\frac{1}{" * DEEP + "1" + "}" * DEEP + " = 1",
    "roots": r"\sqrt{" * DEEP + "1" + "}" * DEEP + " = 1",
    "subscripts": "a" + "_{a" * DEEP + "}" * DEEP + " = 1",
    "braces": "{" * 20_000 + "}" * 20_000 + "=1",
    "digits": "1" * 1_000_000 + " = 1",
    "digits that fit": "1" * 30_000 + "^2 = 1",
    "decimals": "0." + "3" * 30_000 + " C_0 = 1",
    "large sum": r"\sum_{k=0}^{1000000000} w_{1k}^{(L)} = 1",
    "sum to a power": r"\sum_{l=1}^{10^{9}} a_1^{(l)} = 1",
    "sums": r"\sum_{i=0}^{n-1}" * 60 + " a_i^{(L)} = 1",
    "products": r"\prod_{i=0}^{n-1}" * 60 + " a_i^{(L)} = 1",
    "large node": r"w_{999999999\,1}^{(L)} = 1",
    "large nodes": r"a_{999999999}^{(L)} = a_{1000000000}^{(L)}",
    "large layer": r"a_j^{(l+1000000)} = 1",
    "small layer": r"\frac{\partial C_0}{\partial a_j^{(L-1000000)}} = 0",
    "layer by number": r"\frac{\partial C_0}{\partial w_{11}^{(999999)}} = 0",
    "many indices": "a_{" + ",".join("ijk" * 2000) + "}^{(L)} = 1",
    "many letters": " + ".join(f"a_{{{chr(97 + n % 26)}}}^{{({n})}}" for n in range(2000)) + " = 1",
    "many terms": " + ".join([r"w_{jk}^{(l)} a_k^{(l-1)}"] * 2500) + " = 1",
    "many factors": r" \left(a_j^{(L)} + y_j\right)" * 1500 + " = 1",
    "long chain": " = ".join([r"C_0"] * 6000),
    "64 KiB": r"C_0 = " + r"\left(a_j^{(L)} - y_j\right)" * 2400,
    "signs": "C_0 = " + "-" * 60_000 + "1",
    "primes": "g" + "'" * 60_000 + "(z_j^{(L)}) = 1",
    "bars": "|" * 5000 + " = 1",
    "cases": r"\begin{cases}" * 500 + "1" + r"\end{cases}" * 500 + " = 1",
    "macro bomb": r"\newcommand{\a}{x} " + "".join(rf"\newcommand{{\{chr(98+n)}}}{{\{chr(97+n)}\{chr(97+n)}}}" for n in range(24)) + r" $\y = 1$",
    "macro loop": r"\def\x{\x\x} $\x = 1$",
    "names": "".join(f"$q_{{{n}}} := C_0$ " for n in range(1500)),
    "derivatives": r"\frac{\partial}{\partial a_j^{(L)}} " * 400 + "C_0 = 0",
    "control": "\x00\x01\x1b[31m C_0 = 1 \x7f\u202e",
    "surrogates": "C_0 = \ud800 1",
    "html": r"<script>alert(1)</script> $C_0 = <img src=x onerror=alert(1)>$",
    "notebook": json.dumps({"cells": [{"cell_type": "code", "source": ["import os; os.system('touch /tmp/owned')"]}, {"cell_type": "markdown", "source": "$C_0 = 0$"}], "nbformat": 4}),
    "notebook of lists": '{"cells": ' + "[" * 5000 + "]" * 5000 + "}",
    "pickle": "\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
}  # fmt: skip


class Forbidden(BaseException):
    """Not an Exception: no net for unexpected errors may catch it."""


def forbid(*_: Any, **__: Any) -> Any:
    raise Forbidden


def known_frames(real: Any) -> Any:
    """compile, exec and eval as the standard library needs them (namedtuple, dataclass), and for nothing of ours."""

    def guarded(*given: Any, **named: Any) -> Any:
        if str(PACKAGE) in sys._getframe(1).f_code.co_filename:
            raise Forbidden
        return real(*given, **named)

    return guarded


def own_files(real: Any) -> Any:
    """open, for the package's own files and for descriptors alone."""

    def guarded(file: Any, *given: Any, **named: Any) -> Any:
        if isinstance(file, str | bytes | os.PathLike) and not str(os.fsdecode(file)).endswith((".py", ".pyc")):
            if PACKAGE not in Path(os.fsdecode(file)).resolve().parents:
                raise Forbidden(f"a check opens {file!r}")
        return real(file, *given, **named)

    return guarded


PATIENCE = 30
"""Seconds after which a test gives a check up: a hang must fail, not stop the suite."""


@pytest.fixture
def patience() -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, forbid)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that runs text or touches a file fails."""
    net = load("deeplizard")
    net.check("C_0 = 1").html()  # what is imported late is imported now
    for name in ("eval", "exec", "compile"):
        monkeypatch.setattr(builtins, name, known_frames(getattr(builtins, name)))
    monkeypatch.setattr(builtins, "input", forbid)
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", own_files(io.open))
    for name in ("system", "popen", "remove", "unlink", "rename", "mkdir", "fork"):
        monkeypatch.setattr(os, name, forbid)
    monkeypatch.setattr(subprocess, "Popen", forbid)
    import pickle

    import sympy
    import sympy.parsing.latex
    import sympy.parsing.sympy_parser

    for module, names in (
        (pickle, ("loads", "load", "Unpickler")),
        (sympy, ("sympify", "S", "lambdify", "latex", "parse_expr", "simplify")),
        (sympy.parsing.sympy_parser, ("parse_expr", "eval_expr")),
        (sympy.parsing.latex, ("parse_latex",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, forbid)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_hand_in_gets_a_verdict_and_nothing_else(name: str, locked: None, patience: None) -> None:
    report = load("deeplizard").check(HOSTILE[name], explain=False)
    for c in report.claims:
        assert c.verdict in VERDICTS and (c.verdict != "proved" or name in PROVED), (c.verdict, c.message)
        assert "inside symbackprop" not in c.message, c.message
    assert report.exit_status in (0, 1, 3)
    assert json.loads(report.json())["schema"] == 1
    page = str(report.html())
    assert "<script>alert" not in page and "<img src=x" not in page
    assert "\x1b" not in report.text() and "root:" not in page


PROVED = ("lefts", "long chain")
"""What is right, however it is dressed."""


def test_the_lock_holds(locked: None) -> None:
    with pytest.raises(Forbidden):
        open("/etc/passwd").close()
    with pytest.raises(Forbidden):
        os.system("true")


COLD = """
import json, sys
from symbackprop import load
net = load("deeplizard")
for text in json.load(sys.stdin):
    report = net.check(text.encode("utf-8", "surrogatepass"))
    report.text(), report.json(), report.markdown(), report.html()
print(json.dumps(sorted(m for m in sys.modules if m.split(".")[0] in ("sympy", "pickle", "mpmath", "latexify") or "codecheck" in m)))
"""


def test_a_check_imports_no_sympy_and_nothing_that_runs_code() -> None:
    """In a process of its own: right, wrong and hostile lines, all reports."""
    lines = [
        r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j)",
        r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = a_k^{(l-1)} g'^{(l)}(z_j^{(l)})",
        *(HOSTILE[n] for n in ("input", "import", "tower", "binomial", "large sum")),
    ]
    done = subprocess.run(
        [sys.executable, "-c", COLD], input=json.dumps(lines), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_check_command_takes_hostile_files(tmp_path: Path) -> None:
    for n, text in enumerate(HOSTILE.values()):
        (tmp_path / f"{n:03}.tex").write_bytes(text.encode("utf-8", "surrogatepass"))
    command = [sys.executable, "-m", "symbackprop", "check", str(tmp_path), "--json", "--timeout", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(HOSTILE)
    assert not Path("/tmp/owned").exists()
