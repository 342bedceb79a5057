"""How families are written: letters, where the layer goes, first numbers, order of factors, delta.

A notation decides the look only; the mathematics is the network's. A model file has both, so a new one is a new file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from symbackprop.symbols import Role


@dataclass(frozen=True, slots=True)
class Written:
    r"""How one family is written: its letter, and where each of its indices goes.

    Args:
        letter: LaTeX with accents and style, without scripts: `W`, `\hat x`, `\mathbf{h}`.
        lower, upper: The places, in the family's order of indices, of those set below and above, as they are read.
        brackets: Around the upper indices: `()`, `[]` or nothing.
        unit: What stands above besides indices: the Q of W^Q, the (1) of a named layer.
        commas: Whether commas separate the lower indices.
        upper_first: Whether the upper indices are set before the lower ones, as the author types them.
    """

    letter: str
    lower: tuple[int, ...] = ()
    upper: tuple[int, ...] = ()
    brackets: str = "()"
    unit: str = ""
    commas: bool = False
    upper_first: bool = False


@dataclass(frozen=True)
class Notation:
    """One author's way of writing. Two that look alike are equal, whatever they call themselves.

    Args:
        name: How it is asked for.
        source: Whose it is.
        brackets: Whether a layer stands in brackets: w^(l), or bare: w^l.
        layer_first: Whether the layer is set before the nodes (w^l_jk), as the author types it.
        first: The number of the first node.
        order: The order of the factors along a chain rule.
        gradients: Families whose gradient has a letter of its own: {"z": "\\delta"}.
        letters: LaTeX of a family or generic function that differs from its name.
        width: `n` one letter for all widths, `n_l` one for each layer, `none` no limits on sums.
        sample: The letter of a sample.
        samples: The letter of their number.
        written: Families written in their own way, by name; the others by the rules above: layers above, nodes below.
        firsts: The number of the first position of an axis, by the axis's label, where it differs from `first`.
        names: LaTeX of index letters, sizes and other names that differs from the name itself: {"n_i": "n_i", "alpha": "\\alpha"}.
        title: What the model file calls itself.
        unbounded: Labels of axes over which sums are written without limits, as the author wrote them.
        zero: Families that are 0 outside their range (padding), so that no bracket says so.
        labels: Letters set below some symbols that count nothing, such as the n of E_n; they may be left out.
    """

    name: str = field(compare=False)
    source: str = field(compare=False)
    brackets: bool = True
    layer_first: bool = False
    first: int = 0
    order: tuple[Role, ...] = ("upstream", "slope", "incoming")
    gradients: Mapping[str, str] = field(default_factory=dict)
    letters: Mapping[str, str] = field(default_factory=dict)
    width: str = "n"
    sample: str = "i"
    samples: str = "n"
    written: Mapping[str, Written] = field(default_factory=dict)
    firsts: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    title: str = field(default="", compare=False)
    unbounded: frozenset[str] = frozenset()
    zero: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()

    def first_of(self, label: str) -> int:
        """The number of the first position of a node axis."""
        return self.firsts.get(label, self.first)

    @property
    def named(self) -> frozenset[str]:
        return frozenset(self.gradients)


DEEPLIZARD = Notation("deeplizard", "deeplizard, Backpropagation explained, parts 1 to 5")
"""The notation of the lessons, which is that of the defaults above; the others are in the model files."""
