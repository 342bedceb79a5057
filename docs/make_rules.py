"""Write docs/rules.md from the rules themselves; with --check, only say whether it is up to date."""

import argparse
import inspect
import sys
from pathlib import Path

from symbackprop.rules import RULES, Rule

TARGET = Path(__file__).with_name("rules.md")

GROUPS = {
    "graph": (
        "Rules that read the network",
        "They look at the list of equations: which equation defines a quantity, and which equations use it.",
    ),
    "calculus": (
        "Rules for the operator ∂/∂u",
        "Each takes one step through the expression that the operator stands before.",
    ),
    "sums": (
        "Rules for sums and Kronecker's delta",
        "A derivative by one entry of an array leaves a delta under each sum; these rules use it up.",
    ),
    "algebra": (
        "Rules of ordinary algebra",
        "Tidying, cancelling, collecting, and giving a quantity its name back.",
    ),
}

HEAD = """\
# The rules

<!-- Written by docs/make_rules.py from the rules in symbackprop/rules/. Change them there. -->

Every line of a derivation is one of these equalities, read from left to right at one place of the line before it,
or several of them in a row where the detail passes over some. [How the engine chooses among them](engine.md) is
another matter, and cannot make a line wrong.

For each rule: the name as it stands beside a step, the equality, where it is proved or defined, and its side
conditions with their reasons (the docstring of the function that applies it).
"""


def entry(rule: Rule) -> str:
    """One rule as Markdown."""
    lines = [f"### {rule.name}", "", "```math", rule.statement, "```", "", f"Source: {rule.source}."]
    conditions = inspect.cleandoc(rule.apply.__doc__ or "")
    if conditions:
        lines += ["", conditions]
    if rule.trivial:
        lines += ["", "A line that passes over it does not name it."]
    elif rule.passing:
        lines += ["", f"A line that passes over it says: *{rule.passing}*."]
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/rules.md."""
    groups: dict[str, list[Rule]] = {name: [] for name in GROUPS}
    for rule in RULES.values():
        groups.setdefault(inspect.getmodule(rule.apply).__name__.rpartition(".")[2], []).append(rule)
    parts = [HEAD]
    for name, rules in groups.items():
        title, introduction = GROUPS.get(name, (name.capitalize(), ""))
        parts.append(f"## {title}\n\n{introduction}\n")
        parts += [entry(rule) + "\n" for rule in rules]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is out of date")
    options = parser.parse_args()
    text = page()
    if options.check:
        fresh = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        if not fresh:
            print("docs/rules.md is out of date: run python docs/make_rules.py", file=sys.stderr)
        return 0 if fresh else 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote docs/{TARGET.name}: {len(RULES)} rules")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
