"""What the commands derive, check, gradient, models and model do.

Results go to standard output, messages to standard error. Exit status: 0 done; 1 a check refuted;
2 bad usage or input; 3 a check left undecided.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

from symbackprop import __version__

if TYPE_CHECKING:
    from symbackprop.api import Network, Rendered
    from symbackprop.batch import HandIn, Setting
    from symbackprop.report import Report

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

    c = commands.add_parser(
        "check",
        help="check hand-written mathematics, line by line",
        description="Check each formula of a hand-in: proved, refuted with numbers, undecided, or not understood.",
        epilog="Exit status: 0 every claim proved, and the goal answered; 1 something refuted; 2 bad usage, an unreadable "
        "file, a bad model file; 3 anything else. Of several files the first that holds of 1, 2, 3, 0.",
    )
    check_options(c)

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


def check_options(c: argparse.ArgumentParser) -> None:
    c.add_argument(
        "files", nargs="+", metavar="FILE", help="LaTeX, Markdown or a notebook; a folder of them; - is standard input"
    )
    model_options(c)
    c.add_argument("--goal", metavar="GOAL", help="the question that should be answered, as derive takes it")
    c.add_argument(
        "--let", action="append", default=[], metavar="NAME=NAME", help="what a symbol stands for, such as 'E=C_0'"
    )
    c.add_argument("--json", action="store_true", help="JSON: one object, or one on each line for several files")
    c.add_argument("--format", metavar="FORMAT", help="text (default), md, html or json")
    c.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE; its ending gives the format; - is standard output"
    )
    c.add_argument("--ascii", action="store_true", help="plain ASCII instead of Unicode")
    many = c.add_argument_group("several files")
    many.add_argument("--csv", metavar="FILE", help="also write the table as CSV")
    many.add_argument("--jobs", metavar="N", help="processes at once; default: one on each core")
    many.add_argument("--timeout", default="60", metavar="SECONDS", help="for each file; default: 60")
    many.add_argument("--cluster", metavar="ADDRESS", help="use a Dask cluster, such as tcp://10.0.0.1:8786")
    c.set_defaults(run=run_check)


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
    return opened(options.model, **model_changes(options))


def model_changes(options: argparse.Namespace) -> dict[str, Any]:
    """What the model options change of a model, as arguments of `load`."""
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
    return {**({"sizes": numbers} if numbers else {}), **changes}


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


# ---------------------------------------------------------------- check

MOST_SHOWN = 500
"""Files whose reports go into one page."""


def run_check(options: argparse.Namespace) -> int:
    """Check one file here, several in processes of their own."""
    from symbackprop.batch import find_files

    form = check_form(options)
    seconds, jobs = check_limits(options)
    if "-" in options.files and (options.model == "-" or options.files.count("-") > 1):
        raise usage("standard input can be read only once; give a file for the other")
    net, setting = check_setting(options, seconds)
    several = len(options.files) > 1 or options.csv or options.cluster or os.path.isdir(options.files[0])
    if not several:
        return check_alone(net, setting, options, form)
    paths = list(find_files(options.files))
    if form in ("html", "md") and len(paths) > MOST_SHOWN:
        raise usage(f"{len(paths)} files are too many for one page, at most {MOST_SHOWN}; use --json, --csv, or fewer")
    return check_several(paths, setting, options, form, jobs)


def usage(message: str) -> Exception:
    from symbackprop.errors import OutputError

    return OutputError(message)


def check_form(options: argparse.Namespace) -> str:
    """The format asked for, else what the output's ending implies, else text."""
    from symbackprop.errors import UnknownNameError, nearest
    from symbackprop.report import FORMS

    form = form_of(options)
    if options.json:
        if options.format not in (None, "json"):
            raise usage(f"give either --json or --format {options.format}")
        form = "json"
    if form not in FORMS:
        raise UnknownNameError(f"a check has no format {form!r}{nearest(form, FORMS)}")
    return form


def check_limits(options: argparse.Namespace) -> tuple[float, int | None]:
    """Seconds for a file, and how many processes."""
    import math

    try:
        seconds = float(options.timeout)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86_400:
        raise usage(f"--timeout {options.timeout}: expected seconds, such as 60")
    jobs = options.jobs
    if jobs is not None and not (jobs.isascii() and jobs.isdigit() and 0 < int(jobs) <= 4096):
        raise usage(f"--jobs {jobs}: expected a number of processes, from 1")
    return seconds, None if jobs is None else int(jobs)


def check_setting(options: argparse.Namespace, seconds: float) -> tuple[Network, Setting]:
    """The network to check against, and the same as data for other processes."""
    from symbackprop.batch import Setting
    from symbackprop.models import find_model, models, read_file

    changes, text, name = model_changes(options), None, options.model
    if name == "-":
        name, text = "standard input", as_text(sys.stdin.buffer.read(), "the model from standard input")
    elif name not in models():
        text = as_text(read_file(find_model(name).path), name)
    setting = Setting(name, text, changes, options.goal, tuple(options.let), seconds)
    net = setting.network() if options.model == "-" else opened(name, **changes)
    net.check("", goal=setting.goal, let=setting.let)  # a wrong goal is a fault of the command, not of a hand-in
    return net, setting


def as_text(data: bytes, name: str) -> str:
    from symbackprop.errors import ModelError

    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ModelError(f"{name}: byte {e.start} is no UTF-8") from None


def check_alone(net: Network, setting: Setting, options: argparse.Namespace, form: str) -> int:
    from symbackprop.batch import check_one, hand_in
    from symbackprop.errors import OutputError

    given = hand_in(options.files[0])
    if given.error:
        raise OutputError(given.error)
    quiet = sys.stderr is None or not sys.stderr.isatty()
    with nullcontext() if quiet else Progress("checking"), Alarm(setting.timeout) as clock:
        report = check_one(net, setting, given)
    if clock.rang:
        report = clock.report(given)
    write(check_text(report, options, form), options.output)
    return report.exit_status


class Alarm:
    """A limit on the time of what runs here, where the system has one; what runs over it is left."""

    class Rang(BaseException):
        """Nothing that is checked may take this for an error of its own."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.rang, self.over = seconds, False, False

    def __enter__(self) -> Alarm:
        import signal
        import threading

        self.set = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
        if self.set:
            self.before = signal.signal(signal.SIGALRM, self.ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def ring(self, *_: object) -> None:
        if not self.over:
            self.rang = True
            raise Alarm.Rang

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.over = True
        import signal

        if self.set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.before)
        return kind is Alarm.Rang

    def report(self, given: HandIn) -> Report:
        from symbackprop.batch import unfinished

        return unfinished(given.name, f"too large: stopped after {self.seconds:g} s")


def check_text(report: Report, options: argparse.Namespace, form: str) -> str:
    if form == "text":
        plain = options.ascii or not unicode_output()
        return report.text(ascii=plain, columns=columns(options), colour=in_colour(options))
    if form == "json":
        from symbackprop.render.findings import to_json

        return to_json(report.record()) + "\n"
    return report.render(form)


def in_colour(options: argparse.Namespace) -> bool:
    """Whether standard output is a terminal that wants colours."""
    to_terminal = options.output in (None, "-") and sys.stdout is not None and sys.stdout.isatty()
    return to_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def check_several(
    paths: Sequence[str], setting: Setting, options: argparse.Namespace, form: str, jobs: int | None
) -> int:
    """Check many files; what is done when it is interrupted is written all the same."""
    from symbackprop.batch import check_many, hand_in, worst
    from symbackprop.render.findings_table import Line, csv_text

    given = map(hand_in, paths)
    if options.cluster:
        from symbackprop.cluster import check_on_cluster

        reports = check_on_cluster(given, setting, options.cluster)
    else:
        reports = check_many(given, setting, min(jobs, len(paths)) if jobs else None)
    lines: list[Line] = []
    kept: list[Report] = []
    shown: list[str] = []
    statuses: set[int] = set()
    stopped = False
    with Counter(len(paths)) as counter:
        try:
            for r in reports:
                lines.append(Line.of(r))
                statuses.add(r.exit_status)
                counter.done(r)
                if form in ("html", "md"):
                    kept.append(r)
                elif form == "json":
                    line = check_text(r, options, form)
                    shown.append(line) if options.output not in (None, "-") else write(line, None)
        except KeyboardInterrupt:
            stopped = True
    if form == "json":
        if options.output not in (None, "-"):
            write("".join(shown), options.output)
    else:
        write(several_text(lines, kept, options, form), options.output)
    if options.csv:
        write(csv_text(lines), options.csv)
    if stopped:
        print(f"symbackprop: stopped; {len(lines)} of {len(paths)} files are checked", file=sys.stderr)
        return 130
    return worst(statuses)


def several_text(lines: Sequence[Any], reports: Sequence[Report], options: argparse.Namespace, form: str) -> str:
    from symbackprop.render.findings_table import markdown_table, table

    if form == "html":
        from symbackprop.render.findings_html import page

        return page(reports)
    if form == "md":
        return "\n".join([markdown_table(lines), *(r.markdown() for r in reports)])
    plain = options.ascii or not unicode_output()
    return table(lines, ascii_only=plain, columns=columns(options), colour=in_colour(options))


class Counter:
    """How many files are done, on standard error while it is a terminal; what cannot be read is told in any case."""

    def __init__(self, total: int) -> None:
        import time

        self.total, self.count, self.wrong, self.clock = total, 0, 0, time.monotonic
        self.live = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.start = self.last = self.clock()

    def __enter__(self) -> Counter:
        return self

    def done(self, report: Report) -> None:
        self.count += 1
        self.wrong += report.verdict == "refuted"
        if report.error:
            self.clear()
            print(f"symbackprop: {report.error}", file=sys.stderr)
        now = self.clock()
        if self.live and (now - self.last > 0.1 or self.count == self.total):
            self.last = now
            rate = self.count / max(now - self.start, 1e-9)
            said = f"checked {self.count} of {self.total}, {self.wrong} refuted, {rate:.1f} a second"
            print(f"\r\x1b[K{said}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self.clear()


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
