"""The kept help text is what argparse would print."""

from symbackprop.cli import HELP
from symbackprop.commands import parser


def test_the_kept_help_is_the_parsers_own() -> None:
    assert parser().format_help() == HELP


def test_the_kept_help_names_every_command() -> None:
    assert all(name in HELP for name in ("derive", "gradient", "models", "model"))
