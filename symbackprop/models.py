"""The built-in models: which network a lesson speaks of, and in whose notation. One entry, one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from symbackprop.errors import UnknownNameError, nearest


@dataclass(frozen=True)
class Model:
    """Arguments of `dense` and the notation to write it in."""

    name: str
    description: str
    notation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


MODELS: dict[str, Model] = {
    m.name: m
    for m in (
        Model("deeplizard", "deeplizard's lessons: no bias, g^(l) for each layer, C_0 = sum of squares", "deeplizard"),
        Model(
            "3b1b",
            "3Blue1Brown, chapter 4: bias, one sigma, sum of squares",
            "3b1b",
            {"bias": True, "activation": "same"},
        ),
        Model(
            "3b1b-chain",
            "3Blue1Brown, chapter 4, first half: one neuron in each layer",
            "3b1b",
            {"bias": True, "activation": "same", "width": 1},
        ),
        Model(
            "nielsen",
            "Nielsen, chapter 2: bias, one sigma, half the sum of squares, delta",
            "nielsen",
            {"bias": True, "activation": "same", "loss": "half_sum_squares"},
        ),
        Model(
            "nielsen-general",
            "Nielsen, chapter 2, for any cost C of the outputs: BP1 to BP4 as printed",
            "nielsen",
            {"bias": True, "activation": "same", "loss": "generic"},
        ),
        Model(
            "softmax",
            "a classifier: sigmoid layers, softmax output, cross-entropy",
            "deeplizard",
            {"bias": True, "activation": "sigmoid", "loss": "softmax_cross_entropy"},
        ),
    )
}


def find_model(name: str) -> Model:
    """A built-in model by name.

    >>> find_model("nielsen").notation
    'nielsen'

    Raises:
        UnknownNameError: There is none of that name.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise UnknownNameError(f"no model is called {name!r}{nearest(name, MODELS)}") from None
