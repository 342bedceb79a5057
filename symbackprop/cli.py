"""The door to the command line: what can be answered at once is, the rest is loaded.

`--help` and `--version` load next to nothing, not even argparse; a test holds `HELP` against what
argparse would print.
"""

from __future__ import annotations

import sys

from symbackprop import __version__

TYPE_CHECKING = False  # as typing has it, without loading typing
if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """\
symbackprop derives, checks and compiles the mathematics of backpropagation. Three things to try:

  symbackprop derive                                     the textbook derivation of dC_0/dw_jk^(l), checked
  symbackprop derive w_12^L --notation 3b1b -o w12.html  one weight, in another notation, as a page
  symbackprop gradient --sizes 784,30,10 --activation sigmoid -o grad.py
                                                         the gradient as a NumPy module that checks itself

`symbackprop COMMAND --help` lists the options; `symbackprop models` the built-in models.
"""

HELP = """\
usage: symbackprop [-h] [--version] COMMAND ...

The mathematics of backpropagation: derivations, checks, gradient functions.

positional arguments:
  COMMAND
    derive    derive a gradient, step by step
    check     check hand-written mathematics, line by line
    gradient  write the gradient function as a module
    models    list the built-in models
    model     show what was understood of a model

options:
  -h, --help  show this help message and exit
  --version   show program's version number and exit
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        sys.stdout.write(EXAMPLES)
        return 0
    if given in (["--help"], ["-h"]):
        sys.stdout.write(HELP)
        return 0
    if given == ["--version"]:
        sys.stdout.write(f"symbackprop {__version__}\n")
        return 0
    from symbackprop.commands import run

    return run(given)


if __name__ == "__main__":
    raise SystemExit(main())
