r"""From the bytes of a hand-in to its claims, whatever the bytes are.

>>> handin = read_handin(r"The error is $\delta_j = 2(a_j - y_j)$, where $E := C_0$.")
>>> [(c.number, c.line, c.column, c.definition) for c in handin.claims]
[(1, 1, 15, False), (2, 1, 48, True)]
>>> [str(r) for r in handin.lets]
['E for C_{0}']
"""

from symbackprop.read.handin.reader import kind_of, read_handin, renamed, renamed_claim
from symbackprop.read.handin.records import Claim, HandIn
from symbackprop.read.handin.renaming import Renaming, read_let

__all__ = ["Claim", "HandIn", "Renaming", "kind_of", "read_handin", "read_let", "renamed", "renamed_claim"]
