"""Index arithmetic, guards and fresh names: compared with brute force over small ranges."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from symbackprop.indices import (
    Affine,
    Axis,
    Constraint,
    affine,
    at_least,
    between,
    contradicts,
    equals,
    fresh,
    implies,
    satisfiable,
)

NAMES = ("L", "l", "m")
RANGE = range(-3, 4)

affines = st.builds(
    lambda cs, c: sum((affine(n) * k for n, k in zip(NAMES, cs, strict=True)), affine(c)),
    st.tuples(*[st.integers(-2, 2)] * 3),
    st.integers(-3, 3),
)
differences = st.builds(
    lambda a, b, c: affine(a) - affine(b) + c, st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(-3, 3)
)
values = st.fixed_dictionaries({n: st.integers(-9, 9) for n in NAMES})


def guards(parts: st.SearchStrategy[Affine]) -> st.SearchStrategy[tuple[Constraint, ...]]:
    return st.lists(st.builds(Constraint, parts, st.booleans()), max_size=4).map(tuple)


def solutions(guard: tuple[Constraint, ...]) -> list[dict[str, int]]:
    points = (dict(zip(NAMES, p, strict=True)) for p in itertools.product(RANGE, repeat=3))
    return [p for p in points if all(c.holds(p) for c in guard)]


@given(affines, affines, st.integers(-3, 3), values)
def test_arithmetic_is_that_of_the_values(a: Affine, b: Affine, k: int, v: dict[str, int]) -> None:
    x, y = a.evaluate(v), b.evaluate(v)
    assert (a + b).evaluate(v) == x + y
    assert (a - b).evaluate(v) == x - y
    assert (-a).evaluate(v) == -x
    assert (a * k).evaluate(v) == (k * a).evaluate(v) == k * x
    assert (3 - a).evaluate(v) == 3 - x


@given(affines, affines)
def test_equal_expressions_have_one_form(a: Affine, b: Affine) -> None:
    assert a + b == b + a
    assert a + b - b == a
    assert hash(a + b - b) == hash(a)
    assert all(c for _, c in (a + b).terms)


@given(affines, affines, affines, values)
def test_substitution_is_simultaneous(a: Affine, b: Affine, c: Affine, v: dict[str, int]) -> None:
    out = a.substitute({"l": b, "m": c})
    assert out.evaluate(v) == a.evaluate({**v, "l": b.evaluate(v), "m": c.evaluate(v)})


def test_how_an_index_is_written() -> None:
    L, l = affine("L"), affine("l")
    assert [str(x) for x in (L - 1, l + 1, l - l, affine(7), 2 * l - L, -l, L - l - 2)] == [
        "L-1",
        "l+1",
        "0",
        "7",
        "2l-L",
        "-l",
        "L-l-2",
    ]
    assert (l.name, (l + 1).name, affine(3).value, l.value, (2 * l).name) == ("l", None, 3, None, None)


@settings(max_examples=150, deadline=None)
@given(guards(differences))
def test_satisfiable_is_exact_for_differences(guard: tuple[Constraint, ...]) -> None:
    """Layers and times are compared by differences, which a shift leaves alone: L may be taken as 0."""
    points = ({"L": 0, "l": x, "m": y} for x, y in itertools.product(range(-9, 10), repeat=2))
    assert satisfiable(guard) == any(all(c.holds(p) for c in guard) for p in points)


@settings(max_examples=150, deadline=None)
@given(guards(affines))
def test_satisfiable_never_denies_a_solution(guard: tuple[Constraint, ...]) -> None:
    if solutions(guard):
        assert satisfiable(guard)


@settings(max_examples=120, deadline=None)
@given(guards(affines), st.builds(Constraint, affines, st.booleans()))
def test_what_is_implied_holds_at_every_solution(guard: tuple[Constraint, ...], goal: Constraint) -> None:
    found = solutions(guard)
    if implies(guard, goal):
        assert all(goal.holds(p) for p in found)
    if contradicts(guard, goal):
        assert not any(goal.holds(p) for p in found)


def test_implication_says_no() -> None:
    inside = between(1, "l", "L")
    assert implies(inside, at_least("L", 1))
    assert not implies(inside, at_least("l", 2))
    assert not implies(inside, equals("l", "L"))
    assert implies((*inside, at_least(1, "L")), equals("l", "L"))
    assert contradicts(inside, at_least(0, "l"))
    assert not contradicts(inside, equals("l", "L"))


def test_parity_is_seen() -> None:
    assert not satisfiable([equals(2 * affine("l"), 2 * affine("m") + 1)])
    assert not satisfiable([at_least(2 * affine("l"), 1), at_least(1, 2 * affine("l"))])


@given(st.builds(Constraint, affines, st.booleans()), values)
def test_the_negations_are_the_complement(c: Constraint, v: dict[str, int]) -> None:
    assert sum(n.holds(v) for n in c.negations()) == (not c.holds(v))


@given(st.sampled_from("jklpq"), st.sets(st.sampled_from([*"jklpqrstuv", "p1", "p2"])))
def test_a_fresh_name_is_not_taken_and_the_wish_is_granted_where_it_can(wish: str, taken: set[str]) -> None:
    name = fresh(wish, taken)
    assert name not in taken
    assert name == wish or wish in taken


def test_a_width_follows_its_layer() -> None:
    axis = Axis("node", "n", affine("l") - 1)
    assert axis.substitute({"l": affine("L")}) == Axis("node", "n", affine("L") - 1)
    assert axis.substitute({"m": affine("L")}) is axis
