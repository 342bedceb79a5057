"""The mathematics of backpropagation: derivations, verdicts and gradient functions.

>>> from symbackprop import dense
>>> d = dense().derive("w_12^L")
>>> print(d.result)
2(a₁⁽ᴸ⁾ − y₁) · g′⁽ᴸ⁾(z₁⁽ᴸ⁾) · a₂⁽ᴸ⁻¹⁾
>>> d.check().verdict
'proved'
"""

from __future__ import annotations

# Not imported from typing, which alone would cost a third of the time that --help takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from symbackprop.api import Derivation, Network, dense, load
    from symbackprop.render.code import code_latex

__version__ = "0.1.0"
__all__ = ["Derivation", "Network", "__version__", "code_latex", "dense", "load"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `symbackprop --help` and `--version` load next to nothing.
    if name in ("Derivation", "Network", "dense", "load"):
        from symbackprop import api

        return getattr(api, name)
    if name == "code_latex":
        from symbackprop.render.code import code_latex

        return code_latex
    raise AttributeError(f"module 'symbackprop' has no attribute {name!r}")
