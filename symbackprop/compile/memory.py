"""Where the buffers of generated code lie: all in one block, those that are never alive together in the same place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symbackprop.compile.numpy_backend import Register, Step

ALIGN = 16
"""Entries: buffers begin at multiples of it, so that each begins on a cache line."""


@dataclass(frozen=True, slots=True)
class Block:
    """A buffer: its name in the code, its shape, and its place in the block of its kind."""

    name: str
    shape: tuple[int, ...]
    boolean: bool
    start: int
    length: int


@dataclass(eq=False, slots=True)
class Slot:
    """A stretch of time in which some memory is taken."""

    first: int
    last: int
    length: int
    boolean: bool
    start: int = 0


def place(
    steps: Sequence[Step], shape_of: Callable[[Register], tuple[int, ...]]
) -> tuple[list[Block], tuple[int, int]]:
    """Name every register's buffer, and place it; the lengths of the two blocks, of numbers and of flags."""
    first, last = lifetimes(steps)
    slots: dict[int, Slot] = {}
    blocks: list[tuple[Register, Slot]] = []
    scalars = 0
    for n, s in enumerate(steps):
        for a in s.args:
            if a.register is not None and a.register.fixed:
                a.register.buffer = a.register.fixed
        out = s.out if s.out is None else root(s.out)
        if out is None or out.buffer or id(out) in slots:
            continue
        if out.fixed:
            out.buffer = out.fixed
        elif not out.dims:
            scalars += 1
            out.buffer = f"t{scalars}"
        else:
            slot = _shared(s, n, out, slots, last, shape_of)
            end = last.get(id(out), n)
            if slot is None:
                length = 1
                for size in shape_of(out):
                    length *= size
                slot = Slot(first[id(out)], end, -(-length // ALIGN) * ALIGN, out.boolean)
            slot.last = max(slot.last, end)
            slots[id(out)] = slot
            blocks.append((out, slot))
            out.buffer = f"u{len(blocks)}"
    lengths = tuple(_packed([x for x in dict.fromkeys(s for _, s in blocks) if x.boolean == b]) for b in (False, True))
    made = []
    for r, slot in blocks:
        length = 1
        for size in shape_of(r):
            length *= size
        made.append(Block(r.buffer, shape_of(r), r.boolean, slot.start, length))
    return made, (lengths[0], lengths[1])


def root(r: Register) -> Register:
    """The register that a part belongs to."""
    parent = getattr(r, "parent", None)
    return r if parent is None else parent


def lifetimes(steps: Sequence[Step]) -> tuple[dict[int, int], dict[int, int]]:
    """The first and the last step of each register; one from before a loop that is used in it lives to its end."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    ends: dict[int, int] = {}
    open_: list[int] = []
    around: list[tuple[int, ...]] = []
    for n, s in enumerate(steps):
        if s.form.startswith("for "):
            open_.append(n)
        elif s.form == "end":
            ends[open_.pop()] = n
        around.append(tuple(open_))
    for n, s in enumerate(steps):
        for r in [*(a.register for a in s.args), s.out]:
            if r is None:
                continue
            r = root(r)
            first.setdefault(id(r), n)
            outer = next((loop for loop in around[n] if loop > first[id(r)]), None)
            last[id(r)] = max(last.get(id(r), n), n if outer is None else ends[outer])
    return first, last


def _shared(
    s: Step,
    n: int,
    out: Register,
    slots: dict[int, Slot],
    last: dict[int, int],
    shape_of: Callable[[Register], tuple[int, ...]],
) -> Slot | None:
    """The place of an argument that ends with this step, where the step may work in place."""
    for k in s.may_share:
        a = s.args[k]
        r = a.register
        if r is None or id(r) not in slots or last[id(r)] != n or r.boolean != out.boolean or not r.written:
            continue
        if shape_of(r) == shape_of(out) and not any(b.view for b in s.args if b.register is r):
            return slots[id(r)]
    return None


def _packed(slots: Sequence[Slot]) -> int:
    """Give each slot the lowest place that is free all its time, the longest first; the length that all need."""
    placed: list[Slot] = []
    for s in sorted(slots, key=lambda s: -s.length):
        start = 0
        for other in sorted((p for p in placed if p.first <= s.last and s.first <= p.last), key=lambda p: p.start):
            if other.start >= start + s.length:
                break
            start = max(start, other.start + other.length)
        s.start = start
        placed.append(s)
    return max((s.start + s.length for s in placed), default=0)
