"""Expressions: substitution without capture, equality up to bound names, paths."""

from __future__ import annotations

from fractions import Fraction

import pytest
from conftest import assert_equal_on_samples, differs_on_samples
from hypothesis import given
from hypothesis import strategies as st

from symbackprop.derive import derive
from symbackprop.indices import affine, at_least
from symbackprop.network import dense_system, node_axis
from symbackprop.symbols import (
    Add,
    D,
    Delta,
    Expr,
    Family,
    Mul,
    Num,
    Partial,
    Ref,
    Sum,
    Vec,
    WrittenOut,
    at,
    bound,
    canonical,
    expr,
    families,
    names,
    replace_at,
    same,
    substitute,
    transform,
    walk,
)

NET = dense_system(width=4)
w, a, z = (NET.families[n] for n in "waz")
l = affine("l")
HERE, BELOW = node_axis("l"), node_axis(l - 1)
j, k, p, q = (affine(n) for n in "jkpq")


def test_substitution_does_not_capture() -> None:
    """Σ_q w_kq a_q at k = q is Σ_p w_qp a_p, never Σ_q w_qq a_q."""
    s = Sum("q", BELOW, w[l, "k", "q"] * a[l - 1, "q"])
    out = substitute(s, {"k": q})
    assert isinstance(out, Sum) and out.index != "q"
    assert same(out, Sum("p", BELOW, w[l, "q", "p"] * a[l - 1, "p"]))
    assert not same(out, Sum("q", BELOW, w[l, "q", "q"] * a[l - 1, "q"]))


def test_samples_tell_the_captured_sum_from_the_right_one() -> None:
    right = Sum("p", BELOW, w[l, "q", "p"] * a[l - 1, "p"])
    captured = Sum("q", BELOW, w[l, "q", "q"] * a[l - 1, "q"])
    inside = (at_least("l", 1), at_least("L", "l"))
    assert differs_on_samples(right, captured, NET, inside)
    assert_equal_on_samples(right, substitute(Sum("q", BELOW, w[l, "k", "q"] * a[l - 1, "q"]), {"k": q}), NET, inside)


def test_a_bound_name_is_not_substituted() -> None:
    s = Sum("q", BELOW, w[l, "k", "q"] * a[l - 1, "q"])
    assert substitute(s, {"q": k}) == s
    assert substitute(Vec("q", BELOW, a[l - 1, "q"]), {"q": k}) == Vec("q", BELOW, a[l - 1, "q"])


def test_exchange_of_two_names_is_simultaneous() -> None:
    assert substitute(w[l, "j", "k"], {"j": k, "k": j}) == w[l, "k", "j"]
    s = Sum("p", BELOW, w[l, "j", "p"] * Delta(k, p, BELOW))
    assert same(substitute(s, {"j": k, "k": j}), Sum("p", BELOW, w[l, "k", "p"] * Delta(j, p, BELOW)))


def test_nested_sums_rename_inside_out() -> None:
    inner = Sum("k", BELOW, w[l, "p", "k"] * a[l - 1, "k"])
    outer = Sum("p", HERE, z[l, "j"] * inner)
    assert same(
        substitute(outer, {"j": k}), Sum("p", HERE, z[l, "k"] * Sum("q", BELOW, w[l, "p", "q"] * a[l - 1, "q"]))
    )
    assert same(
        substitute(outer, {"j": p}), Sum("q", HERE, z[l, "p"] * Sum("k", BELOW, w[l, "q", "k"] * a[l - 1, "k"]))
    )


def test_the_layer_of_an_axis_follows() -> None:
    out = substitute(Sum("k", BELOW, w[l, "j", "k"]), {"l": l + 1})
    assert isinstance(out, Sum) and out.axis == node_axis(l)


def test_substitution_reaches_every_head() -> None:
    e = D(WrittenOut(Sum("k", BELOW, w[l, "j", "k"]), (affine(0), None, k)), w[l, "j", "q"])
    out = substitute(e, {"j": affine(2)})
    assert names(out) == {"l", "k", "q"} and families(out) == {"w"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Sum("k", BELOW, a[l - 1, "k"]), Sum("q", BELOW, a[l - 1, "q"])),
        (Sum("p", HERE, Sum("q", BELOW, w[l, "p", "q"])), Sum("q", HERE, Sum("p", BELOW, w[l, "q", "p"]))),
        (Vec("k", BELOW, a[l - 1, "k"]), Vec("j", BELOW, a[l - 1, "j"])),
    ],
)
def test_the_names_of_bound_indices_do_not_matter(one: Expr, other: Expr) -> None:
    assert one != other and same(one, other) and canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Sum("k", BELOW, w[l, "j", "k"]), Sum("k", BELOW, w[l, "p", "k"])),
        (Sum("k", BELOW, a[l - 1, "k"]), Sum("k", HERE, a[l - 1, "k"])),
        (Sum("p", HERE, Sum("q", HERE, w[l, "p", "q"])), Sum("p", HERE, Sum("q", HERE, w[l, "q", "p"]))),
        (Sum("k", BELOW, a[l - 1, "k"]), Sum("k", BELOW, a[l - 1, "k"], (at_least("k", 1),))),
        (a[l, "j"] * z[l, "j"], z[l, "j"] * a[l, "j"]),
    ],
)
def test_everything_else_matters(one: Expr, other: Expr) -> None:
    assert not same(one, other)


def test_free_and_bound_names() -> None:
    e = Sum("k", BELOW, w[l, "j", "k"] * a[l - 1, "k"])
    assert names(e) == {"l", "j"} and bound(e) == {"k"}
    assert names(Partial(Ref("C_0", ()), Vec("k", BELOW, w[l, "j", "k"]))) == {"l", "j"}


def test_order_and_grouping_stay_as_written() -> None:
    assert (2 * (a[l, "j"] - z[l, "j"])).parts[1] == a[l, "j"] - z[l, "j"]
    assert (z[l, "j"] * a[l, "j"] * 3).parts == (z[l, "j"], a[l, "j"], Num(Fraction(3)))
    assert expr(0.1) == Num(Fraction(1, 10))


GOAL = derive(dense_system(), Partial(Ref("C_0", ()), w["l", "j", "k"]))
EXPRESSIONS = [s.after for s in GOAL.steps]


@given(st.sampled_from(EXPRESSIONS), st.randoms(use_true_random=False))
def test_a_path_leads_to_the_part_it_was_found_at(e: Expr, r) -> None:  # type: ignore[no-untyped-def]
    path, part = r.choice(list(walk(e)))
    assert at(e, path) == part
    assert replace_at(e, path, part) == e
    assert transform(e, lambda x: x) == e


@given(st.sampled_from(EXPRESSIONS))
def test_renaming_forth_and_back_changes_nothing_but_bound_names(e: Expr) -> None:
    there = substitute(e, {"j": affine("t"), "k": affine("u")})
    assert same(substitute(there, {"t": j, "u": k}), e)


@pytest.mark.parametrize("indices", [("l", "l"), ("l",)])
def test_a_family_has_one_letter_for_each_axis(indices: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one distinct letter"):
        Family("v", indices, (HERE, BELOW), "derived")


def test_a_quantity_has_all_its_indices() -> None:
    with pytest.raises(IndexError, match="3 indices"):
        w["l", "j"]


def test_roles_belong_to_factors() -> None:
    with pytest.raises(AssertionError):
        Mul((a[l, "j"],), ("upstream", "slope"))
    assert isinstance(Add((a[l, "j"],)) + z[l, "j"], Add)
