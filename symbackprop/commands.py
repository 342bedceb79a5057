"""What the commands derive, gradient, models and model do.

Results go to standard output, messages to standard error. Exit status: 0 done; 1 a check refuted;
2 bad usage or input; 3 a check left undecided.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from symbackprop import __version__

if TYPE_CHECKING:
    from symbackprop.api import Network, Rendered

HELP_WIDTH = 98


class Parser(argparse.ArgumentParser):
    """argparse, with errors on one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=formatter)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"symbackprop: {message}\n")


def formatter(prog: str) -> argparse.HelpFormatter:
    """Help of one width, so that the top of it can be kept as text (`cli.HELP`)."""
    return argparse.HelpFormatter(prog, max_help_position=30, width=HELP_WIDTH)


def parser() -> Parser:
    top = Parser(
        prog="symbackprop", description="The mathematics of backpropagation: derivations, checks, gradient functions."
    )
    top.add_argument("--version", action="version", version=f"symbackprop {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    d = commands.add_parser(
        "derive",
        help="derive a gradient, step by step",
        description="Derive a gradient, step by step, and check every step.",
    )
    d.add_argument(
        "goal", nargs="*", metavar="GOAL", help="w_jk^l, w_12^L, a_2^{L-1}, dC0/dw_jk^L, w, or LaTeX in single quotes"
    )
    model_options(d)
    what = d.add_mutually_exclusive_group()
    what.add_argument("--symbols", action="store_true", help="the notation table")
    what.add_argument("--backward", action="store_true", help="the whole backward pass")
    what.add_argument("--update", action="store_true", help="the step of gradient descent")
    what.add_argument("--matrix", action="store_true", help="the matrix form of both passes, with its shapes")
    d.add_argument(
        "--layout", default="column", metavar="NAME", help="of the matrix form: column (default), row, batch"
    )
    d.add_argument("--given", metavar="NAMES", help="quantities that you have saved, separated by commas: P,O")
    d.add_argument("--notation", metavar="NAME|FILE", help="that of a model: the look only")
    d.add_argument("--detail", default="lecture", metavar="DETAIL", help="brief, lecture (default) or full")
    d.add_argument("--format", metavar="FORMAT", help="text (default), tex, md, html or json")
    d.add_argument("-s", "--standalone", action="store_true", help="a LaTeX document that stands alone")
    d.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE; its ending gives the format; - is standard output"
    )
    d.add_argument("--ascii", action="store_true", help="plain ASCII instead of Unicode")
    d.set_defaults(run=run_derive)

    g = commands.add_parser(
        "gradient",
        help="write the gradient function as a module",
        description="Write the gradient as a module that needs only NumPy.",
    )
    model_options(g)
    g.add_argument("--backend", default="numpy", metavar="NAME", help="numpy (default) or auto")
    g.add_argument("-o", "--output", metavar="FILE.py", help="the file to write; default: standard output")
    g.set_defaults(run=run_gradient)

    m = commands.add_parser("models", help="list the built-in models")
    m.set_defaults(run=run_models)

    one = commands.add_parser(
        "model",
        help="show what was understood of a model",
        description="Show a model's equations, symbols and notation, and which line says so.",
    )
    one.add_argument("model", metavar="NAME|FILE", help="a built-in model, or a model file; - is standard input")
    one.add_argument("--latex", action="store_true", help="as a model file, such as is read back")
    one.add_argument("--ascii", action="store_true", help="plain ASCII instead of Unicode")
    one.set_defaults(run=run_model)
    return top


def model_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("model options")
    group.add_argument(
        "--model",
        default="deeplizard",
        metavar="NAME|FILE",
        help="a built-in model (default: deeplizard) or a .tex file",
    )
    group.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="NAME=N",
        help="a number for a size of the model, such as n_0=784",
    )
    group.add_argument("--sizes", metavar="N,N,...", help="784,30,10 or 784-30-10; a letter is a symbolic width")
    group.add_argument("--activation", metavar="NAME", help="sigmoid, tanh, relu, ...; several separated by commas")
    group.add_argument("--loss", metavar="NAME", help="sum_squares, softmax_cross_entropy, ...")
    group.add_argument("--bias", action=argparse.BooleanOptionalAction, default=None, help="with or without biases")


def network(options: argparse.Namespace) -> Network:
    """The network that the model options describe."""
    from symbackprop.errors import ModelError

    changes: dict[str, Any] = {}
    if options.sizes is not None:
        parts = options.sizes.replace("-", ",").split(",") if not options.sizes.startswith("-") else [options.sizes]
        changes["sizes"] = [size(p.strip(), options.sizes) for p in parts]
        changes["width"] = None
    if options.activation is not None:
        names = [a.strip() for a in options.activation.split(",")]
        changes["activation"] = names[0] if len(names) == 1 else names
    if options.loss is not None:
        changes["loss"] = options.loss
    if options.bias is not None:
        changes["bias"] = options.bias
    numbers = dict(named_size(text) for text in options.size)
    if numbers and "sizes" in changes:
        raise ModelError("give either --sizes or --size, not both")
    return opened(options.model, **({"sizes": numbers} if numbers else {}), **changes)


def opened(model: str, **changes: Any) -> Network:
    """A model by name, from a file, or from standard input."""
    from symbackprop.api import Network, load
    from symbackprop.errors import ModelError

    if model != "-":
        return load(model, **changes)
    sizes = changes.pop("sizes", None)
    if changes or (sizes is not None and not isinstance(sizes, dict)):
        raise ModelError("a model from standard input takes numbers for its sizes by name, as in --size n=3")
    return Network.from_latex(sys.stdin.buffer.read(), sizes=sizes, name="standard input")


def named_size(text: str) -> tuple[str, int]:
    """A size with its number: n_0=784."""
    from symbackprop.errors import ModelError

    name, _, number = text.partition("=")
    if not name.strip() or not number.strip().isdecimal():
        raise ModelError(f"--size {text}: expected a name and a whole number, such as n_0=784")
    return name.strip(), int(number)


def size(text: str, whole: str) -> int | str:
    from symbackprop.errors import ModelError

    if len(text) == 1 and text.isalpha() and text.isascii():
        return text
    try:
        return int(text)
    except ValueError:
        raise ModelError(
            f"--sizes {whole}: {text!r} is no size; write whole numbers such as 784,30,10, or a letter for a symbolic width"
        ) from None


def run_derive(options: argparse.Namespace) -> int:
    from symbackprop.derivation import Detail
    from symbackprop.errors import GoalError

    goal = one_goal(options.goal)
    form = form_of(options)
    Detail.named(options.detail)
    net = network(options)
    if options.notation is not None:
        net = net.in_notation(options.notation)
    shown: Rendered
    whole = (
        "--symbols" if options.symbols else "--backward" if options.backward else "--matrix" if options.matrix else ""
    )
    if whole:
        if goal is not None:
            raise GoalError(f"{whole} takes no goal, found {goal!r}")
        shown = net.symbols() if options.symbols else net.backward() if options.backward else net.matrix(options.layout)
    elif options.update:
        shown = net.update(goal)
    else:
        shown = net.derive(goal, given=[n.strip() for n in (options.given or "").split(",") if n.strip()])
    with Progress("deriving and checking"):
        if form == "text":
            result = shown.text(options.detail, ascii=options.ascii or not unicode_output(), columns=columns(options))
        else:
            result = shown.render(form, options.detail, standalone=options.standalone)
        checked = shown.outcome(net.notation)
    write(result, options.output)
    return {"proved": 0, "refuted": 1, "undecided": 3}[checked]


def one_goal(words: Sequence[str]) -> str | None:
    """The goal as one word; several mean that the shell has split it."""
    from symbackprop.errors import GoalError

    if len(words) > 1:
        joined = " ".join(words)
        raise GoalError(
            f"the goal came in {len(words)} pieces ({joined}); put it in single quotes, or use the short form w_jk^l"
        )
    return words[0] if words else None


def form_of(options: argparse.Namespace) -> str:
    """The format asked for, else what the output's ending implies, else text."""
    from symbackprop.output import find_format, format_of_file

    if options.format is not None:
        return find_format(options.format).name
    if options.output and options.output != "-" and os.path.splitext(options.output)[1]:
        return format_of_file(options.output).name
    return "text"


def run_gradient(options: argparse.Namespace) -> int:
    from symbackprop.compile import find_backend
    from symbackprop.errors import ModelError

    find_backend(options.backend)
    net = network(options)
    if net.is_layered and not net.system.numeric:
        raise ModelError("a module needs sizes; give them, for example --sizes 784,30,10 --activation sigmoid")
    with Progress("writing the module"):
        text = net.module()
    write(text, options.output)
    return 0


def run_models(options: argparse.Namespace) -> int:
    from symbackprop.models import models

    width = max(map(len, models()))
    write("\n".join(f"{m.name:<{width}}  {m.title}" for m in models().values()) + "\n", None)
    return 0


def run_model(options: argparse.Namespace) -> int:
    net = opened(options.model)
    if options.latex:
        write(net.model_text(), None)
    else:
        write(net.overview(ascii=options.ascii or not unicode_output(), columns=terminal_columns()), None)
    return 0


def columns(options: argparse.Namespace) -> int:
    """The width to write for: the terminal's, or that of a page."""
    return 100 if options.output and options.output != "-" else terminal_columns()


def terminal_columns() -> int:
    """The width of the terminal, within what reads well."""
    import shutil

    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))


def unicode_output() -> bool:
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return encoding.startswith("utf")


def write(text: str, path: str | None) -> None:
    """To a file, whole or not at all; or to standard output."""
    if path is None or path == "-":
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except UnicodeEncodeError:
            sys.stdout.buffer.write(text.encode("utf-8"))
        return
    from symbackprop.output import write_file

    write_file(path, text)
    print(f"wrote {path}", file=sys.stderr)


class Progress:
    """A word on standard error once work takes longer than a second."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        import threading

        self.done = threading.Event()
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()

    def wait(self) -> None:
        if self.done.wait(1.0):
            return
        print(f"symbackprop: {self.what} ", end="", file=sys.stderr, flush=True)
        while not self.done.wait(1.0):
            print(".", end="", file=sys.stderr, flush=True)
        print(" done", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def run(given: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        options = parser().parse_args(given)
    except SystemExit as e:
        return int(e.code or 0)
    from symbackprop.errors import SymbackpropError

    try:
        return int(options.run(options))
    except SymbackpropError as e:
        print(f"symbackprop: {e}", file=sys.stderr)
        if getattr(e, "line", 0):  # a place in a file, which a reader wants to see
            print(getattr(e, "excerpt", ""), file=sys.stderr)
        return 2
    except RecursionError:
        print("symbackprop: this network is too deep or this expression too large for it", file=sys.stderr)
        return 2
    except MemoryError:
        print("symbackprop: not enough memory", file=sys.stderr)
        return 2
    except OSError as e:
        if isinstance(e, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"symbackprop: cannot write: {e.strerror or e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("symbackprop: stopped", file=sys.stderr)
        return 130
    except Exception as e:
        if os.environ.get("SYMBACKPROP_DEBUG"):
            raise
        print(
            f"symbackprop: a defect of ours ({type(e).__name__}: {e}); SYMBACKPROP_DEBUG=1 shows where", file=sys.stderr
        )
        return 2
