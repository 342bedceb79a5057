"""What a check says, in each of its forms: to the letter of the contract, and harmless whatever a hand-in holds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from findings import ALL_RIGHT, COST, HOMEWORK, HOSTILE, LONG, NO_SLOPE, NOTHING, REPORTS, TRANSPOSED, mark
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_html import Page, refused, without_scripts

from symbackprop.errors import UnknownNameError
from symbackprop.render import findings_html
from symbackprop.render.findings import alone, marked, pieces, printable, settable
from symbackprop.render.findings_html import page
from symbackprop.render.findings_table import Line, csv_text, markdown_table, table
from symbackprop.render.readable import readable
from symbackprop.report import CAUSES, Counterexample, Finding, Fix, Mark, Report

CONTRACT = ["schema", "file", "verdict", "answered", "first_wrong_claim", "claims"]
CLAIM = [
    "claim", "line", "column", "latex", "verdict", "chain", "carried", "scope", "facts", "convention", "causes", "fix",
    "counterexample", "message",
]  # fmt: skip
NUMBERS = ["sizes", "indices", "inputs", "left", "right"]

every_report = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


def claims(*verdicts: str, chain: str | None = None) -> Report:
    return Report("", tuple(Finding(n, n, 1, "a = b", v, chain or v) for n, v in enumerate(verdicts, 1)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the verdict on the whole


def test_the_worst_verdict_is_that_of_the_whole() -> None:
    assert claims("proved", "definition").verdict == "proved"
    assert claims("proved", "undecided").verdict == "undecided"
    assert claims("undecided", "not_understood", "proved").verdict == "not_understood"
    assert claims("not_understood", "refuted", "undecided").verdict == "refuted"
    assert claims("proved", chain="refuted").verdict == "refuted"


def test_nothing_claimed_is_not_proved() -> None:
    assert claims().verdict == claims("definition").verdict == "undecided"
    assert claims().exit_status == claims("definition").exit_status == 3


def test_exit_status() -> None:
    assert claims("proved", "definition").exit_status == 0
    assert claims("proved", "refuted", "not_understood").exit_status == 1
    assert claims("proved", "undecided").exit_status == claims("proved", "not_understood").exit_status == 3
    assert replace(claims("proved"), answered=True).exit_status == 0
    assert replace(claims("proved"), answered=False).exit_status == 3
    assert replace(claims("refuted"), answered=False).exit_status == 1
    assert replace(claims(), error="cannot read x").exit_status == 2


def test_the_first_wrong_claim_is_the_first_refuted_one() -> None:
    assert HOMEWORK.first_wrong_claim == 3
    assert ALL_RIGHT.first_wrong_claim is None
    assert claims("not_understood", "proved", "refuted", "refuted").first_wrong_claim == 3


# ---------------------------------------------------------------- JSON


@every_report
def test_json_has_the_keys_of_the_contract_first_and_in_order(report: Report) -> None:
    data = json.loads(report.json())
    assert list(data)[: len(CONTRACT)] == CONTRACT and data["schema"] == 1
    for c in data["claims"]:
        assert list(c)[: len(CLAIM)] == CLAIM
        assert all(cause in CAUSES for cause in c["causes"])
        if c["counterexample"] is not None:
            assert list(c["counterexample"])[: len(NUMBERS)] == NUMBERS


def test_json_says_what_the_report_says() -> None:
    data = json.loads(HOMEWORK.json())
    assert (data["file"], data["verdict"], data["answered"], data["first_wrong_claim"]) == (
        "hw.tex",
        "refuted",
        False,
        3,
    )
    third = data["claims"][2]
    assert third["latex"] == NO_SLOPE and third["causes"] == ["missing_activation_derivative", "wrong_variable"]
    assert third["counterexample"]["sizes"] == [5, 3, 4, 6] and third["counterexample"]["indices"] == {"j": 2, "k": 0}
    assert (third["counterexample"]["left"], third["counterexample"]["right"]) == ("7/6", "-5/2")
    assert data["claims"][3]["carried"] is True and data["claims"][3]["chain"] == "refuted"
    assert json.loads(ALL_RIGHT.json())["first_wrong_claim"] is None
    assert json.loads(NOTHING.json())["answered"] is None


@every_report
def test_a_saved_report_is_read_back_whole(report: Report) -> None:
    again = Report.from_record(json.loads(report.json()))
    assert again == replace(report, seconds=round(report.seconds, 3))
    assert again.text() == report.text()


def test_a_verdict_that_is_none_is_not_read_back() -> None:
    data = HOMEWORK.record()
    data["claims"][0]["verdict"] = "right"
    with pytest.raises(ValueError, match="no verdict is called 'right'"):
        Report.from_record(data)


# ---------------------------------------------------------------- terminal


def under(text: str, latex: str) -> str:
    """What stands over the carets below a line."""
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if latex in line)
    return "".join(
        c for c, caret in zip(lines[at].ljust(len(lines[at + 1])), lines[at + 1], strict=False) if caret == "^"
    )


def test_carets_stand_under_the_slip_and_under_its_repair() -> None:
    text = HOMEWORK.text(columns=200)
    assert under(text, TRANSPOSED) == "_{jk}"
    assert under(text, TRANSPOSED.replace("w_{jk}", "w_{kj}")) == "_{kj}"
    assert under(text, NO_SLOPE) == "a"  # where g' is missing
    assert under(text, r"C_0 = a_j^{(L)} \bowtie y_j") == r"\bowtie"


def test_carets_stay_under_the_slip_where_lines_are_wrapped_or_characters_are_wide() -> None:
    wide = Finding(1, 1, 1, "漢字\x1b_{jk} = b", "not_understood", "not_understood", marks=(Mark(3, 8),))
    line, carets = Report("", (wide,)).text().splitlines()[1:3]
    assert line == r"    漢字\x1b_{jk} = b" and carets == "    " + " " * 8 + "^" * 5
    latex = "a + " * 60 + "b_{jk}"
    narrow = Report("", (Finding(1, 1, 1, latex, "refuted", "refuted", marks=(mark(latex, "{jk}"),)),)).text(columns=60)
    assert under(narrow, "b_{jk}") == "{jk}"


def test_text_says_what_a_reader_needs() -> None:
    text = HOMEWORK.text()
    for part in (
        "✗ 3  line 9  refuted: the derivative of the activation is missing",
        "At j = 2, k = 0, widths (5, 3, 4, 6): left 7/6, right -5/2.",
        "It holds in another convention: weights that leave a layer",
        "carries an earlier slip on",
        "Assumed: sum_j y_j = 1.",
        "Base l = L",
        "9 claims: 4 proved, 2 refuted, 1 definition, 1 undecided, 1 not understood",
        "First wrong: claim 3, line 9.",
        "is not answered",
        "left about 125000, right -2.50000000001",
    ):
        assert " ".join(part.split()) in " ".join(text.split())


def test_values_that_agree_in_their_first_digits_are_told_apart() -> None:
    c = Counterexample((), {}, {}, "10000000001/30000000000", "10000000002/30000000000")
    left, right = re.findall(
        r"about ([\d.]+)", Report("", (Finding(1, 1, 1, "a", "refuted", "refuted", counterexample=c),)).text()
    )
    assert left != right


@every_report
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(report: Report, columns: int) -> None:
    from symbackprop.render.findings_text import cells

    for line in report.text(columns=columns).splitlines():
        assert sum(map(cells, line)) <= columns + 1  # a caret may stand behind the last character


@every_report
def test_nothing_of_a_hand_in_steers_the_terminal(report: Report) -> None:
    for text in (
        report.text(),
        report.text(columns=40),
        table([Line.of(report)]),
        report.json(),
        csv_text([Line.of(report)]),
    ):
        assert all(c == "\n" or printable(c) == c for c in text)
        assert "\x1b" not in text and "\u202e" not in text
    assert report.text(ascii=True).isascii() and table([Line.of(report)], ascii_only=True).isascii()


def test_colours_only_where_asked_for_and_words_without_them() -> None:
    coloured = HOMEWORK.text(colour=True)
    assert "\x1b[1;31m" in coloured and "\x1b[1;32m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == HOMEWORK.text()


def test_a_very_long_formula_is_cut_but_not_where_it_is_marked() -> None:
    text = HOSTILE.text()
    assert len(text.splitlines()) < 200
    assert "…" in text and re.search(r"x{8,} = y\n\s+\^+|xx = y\n\s+\^\^\^", text)


# ---------------------------------------------------------------- a line as it is read


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\delta^l = ((w^{l+1})^T \delta^{l+1}) \odot \sigma'(z^l)", "δˡ = ((wˡ⁺¹)ᵀ δˡ⁺¹) ⊙ σ′(zˡ)"),
        (r"\frac{1}{n} \sum_{i=0}^{n-1} \left( a_i - y_i \right)^2", "1/n · Σᵢ₌₀ⁿ⁻¹ (aᵢ − yᵢ)²"),
        (r"\frac{a_j - y_j}{a_j (1 - a_j)}", "(aⱼ − yⱼ)/(aⱼ(1 − aⱼ))"),
        (r"&= -2 (y_p - a_p) \\\\", "= −2(yₚ − aₚ)"),
        (r"\frac{\partial}{\partial W} J(W)", "∂/∂W J(W)"),
        (r"\text{net}_j := \hat{y}_q", "netⱼ := ŷ_q"),
        ("a < b > c", "a < b > c"),
        (r"\nosuch{x}", None),
        (r"\frac{1}{", None),
        ("a \x1b[31m b", None),
        ("a \u202e b", None),
        ("{" * 100 + "}" * 100, None),
        ("", None),
        ("a_", None),
        ("a^^b", None),
    ],
)
def test_a_line_is_read_in_unicode_or_not_at_all(latex: str, expected: str | None) -> None:
    assert readable(latex) == expected


# ---------------------------------------------------------------- several files


def test_a_table_keeps_every_file_and_its_first_slip() -> None:
    lines = [
        Line.of(r) for r in (*REPORTS.values(), Report("gone.tex", (), error="cannot read gone.tex: No such file"))
    ]
    text = table(lines, columns=170)
    assert [row.split()[0] for row in text.splitlines()[1:3]] == ["hw.tex", "right.tex"]
    assert "claim 3, line 9: the derivative of the activation is missing" in text
    assert "unreadable" in text and "cannot read gone.tex" in text
    assert text.endswith("6 files: 1 proved, 3 refuted, 1 undecided, 1 unreadable\n")
    assert markdown_table(lines).count("\n|") == 7


def test_csv_is_read_back_and_no_cell_begins_a_formula() -> None:
    import csv
    import io

    evil = [Report(name, ()) for name in ("=1+1", "+1", "-1", "@x", "\t=1", " =1", "%x", "|x", "\x1b=1", 'a"b,c', "ok")]
    rows = list(csv.reader(io.StringIO(csv_text([Line.of(r) for r in evil]))))
    assert len({len(r) for r in rows}) == 1 and len(rows) == 1 + len(evil)
    assert all(cell[:1] not in set("=+-@\t\r|%") or not cell for row in rows for cell in row)
    assert [r[0] for r in rows[-2:]] == ['a"b,c', "ok"]
    record = dict(
        zip(rows[0], next(csv.reader(io.StringIO(csv_text([Line.of(HOMEWORK)]).split("\n", 1)[1]))), strict=True)
    )
    assert record["verdict"] == "refuted" and record["first_wrong_place"] == "line 9" and record["answered"] == "no"
    assert record["cause"] == "missing_activation_derivative" and record["claims"] == "9"


# ---------------------------------------------------------------- Markdown and notebooks


def test_markdown_shows_formulas_and_escapes_words() -> None:
    text = HOMEWORK.markdown()
    assert f"$$\n{COST}\n$$" in text and "## ✗ Claim 3 (line 9)" in text and "$w_{kj}$ in place of $w_{jk}$" in text
    evil = HOSTILE.markdown()
    outside = re.sub(r"^(`{3,})\n.*?\n\1$", "", evil, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<[a-z/!]", outside) and "\x1b" not in evil and "\u202e" not in evil


def test_a_notebook_gets_no_markup_of_a_hand_in() -> None:
    shown = HOSTILE._repr_html_()
    assert "<script" not in shown and "<img" not in shown and "\x1b" not in shown
    assert COST in HOMEWORK._repr_html_() and HOMEWORK._repr_markdown_() == HOMEWORK.markdown()


# ---------------------------------------------------------------- HTML


def test_the_page_shows_every_claim_its_slip_its_repair_and_the_numbers() -> None:
    html = HOMEWORK.html()
    shown = Page(html)
    assert {f"c{n}" for n in range(1, 10)} <= set(shown.ids())
    assert any(r"\htmlClass{slip}{jk}" in f for f in shown.marked)
    assert any(r"\htmlClass{mend}{kj}" in f for f in shown.marked)
    assert r"\tfrac{7}{6}" in shown.formulas and r"-\tfrac{5}{2}" in shown.formulas
    assert "derivative of the activation" in shown.words and "2/7" in shown.words
    assert html.count("<details") == 5


@every_report
def test_the_page_refers_to_nothing_outside_and_its_references_lead_somewhere(report: Report) -> None:
    for html in (report.html(), page([report, HOMEWORK])):
        shown = Page(html)
        ids = shown.ids()
        assert len(ids) == len(set(ids))
        for tag, attrs in shown.tags:
            assert "src" not in attrs and tag not in ("iframe", "object", "embed", "base", "form", "img")
            href = attrs.get("href", "#")
            assert href == "data:," or href == "#" or href[1:] in ids
        assert len([t for t, _ in shown.tags if t == "script"]) == 3
        assert not any(a.startswith("on") for _, attrs in shown.tags for a in attrs)
        assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e]", without_scripts(html))


def test_a_page_of_several_leads_from_the_table_to_each() -> None:
    html = page(list(REPORTS.values()))
    assert [f'href="#f{n}"' in html and f'id="f{n}"' in html for n in range(1, 6)] == [True] * 5


@every_report
def test_katex_sets_every_formula_that_the_page_calls_one(report: Report) -> None:
    shown = Page(report.html())
    formulas = sorted({f for f in (*shown.formulas, *shown.marked) if f})
    assert refused(formulas) == []


def test_the_page_knows_the_macros_of_the_hand_in_but_not_what_could_hold_it_up() -> None:
    macros = (
        (r"\pd", r"\frac{\partial #1}{\partial #2}"), (r"\big", "x" * 400), (r"\htmlClass", "#2"), ("x", "y"), (r"\evil", '"><script>'),
    )  # fmt: skip
    report = replace(HOMEWORK, macros=macros)
    assert Report.from_record(report.record()) == report
    (found,) = [a["data-macros"] for _, a in Page(report.html()).tags if "data-macros" in a]
    assert json.loads(found) == {r"\pd": r"\frac{\partial #1}{\partial #2}"}


def test_what_cannot_be_set_stays_as_text() -> None:
    for latex in (r"a = \frac{1}{", "a $ b", "x" * 4000, "{" * 50 + "}" * 50, "", "a \x1b b", "</script>", r"}{"):
        assert not settable(latex)
    assert all(map(settable, (COST, TRANSPOSED, r"\left\{ a \right.", r"a \{ b")))
    assert 'class="source"' in HOSTILE.html()


# ---------------------------------------------------------------- marks


@pytest.mark.parametrize(
    ("latex", "part", "expected"),
    [
        ("w_{jk} a_k", "w_{jk}", r"{\htmlClass{slip}{w_{jk}}} a_k"),
        ("w_{jk}^{(l)} a_k", "_{jk}", r"w_{{\htmlClass{slip}{jk}}}^{(l)} a_k"),
        ("w_{jk}^{(l)} a_k", "w_{jk}", r"{\htmlClass{slip}{w_{jk}^{(l)}}} a_k"),
        ("a + b", "+", r"a \mathbin{\htmlClass{slip}{+}} b"),
        ("a = b", "=", r"a \mathrel{\htmlClass{slip}{=}} b"),
        (r"\frac{a}{b} c", "a}", r"{\htmlClass{slip}{\frac{a}{b}}} c"),
        (r"\left( a + b \right) c", r"\left( a", r"{\htmlClass{slip}{\left( a + b \right)}} c"),
        (r"\hat{y}_j", "_j", r"\hat{y}_{\htmlClass{slip}{j}}"),
        (r"\hat{y}_j^2", "{y}_j", r"{\htmlClass{slip}{\hat{y}_j^2}}"),
        ("a & b", "a & b", "a & b"),
    ],
)  # fmt: skip
def test_a_mark_covers_the_least_that_is_whole(latex: str, part: str, expected: str) -> None:
    assert marked(latex, (mark(latex, part),), "slip") == expected


def test_every_mark_of_a_formula_gives_one_that_can_be_set() -> None:
    latex = r"\delta_j = \sum_{k=0}^{n-1} \left( w_{kj}^{(l+1)} \frac{\partial \hat{y}_k}{\partial z} \right)^2 g'(z_j) \sqrt{2}"
    formulas = {marked(latex, (Mark(a, b),), "slip") for a in range(len(latex)) for b in range(a, len(latex) + 1, 3)}
    assert len(formulas) > 100
    bad = refused(sorted(formulas))
    assert bad == [], bad[:3]


def test_a_row_stands_alone() -> None:
    assert alone(r"&= a \label{x}\\") == r"\begin{aligned}&= a\end{aligned}"
    assert alone(COST) == COST


def test_words_that_are_latex_are_told_from_words() -> None:
    assert [p for is_formula, p in pieces("g'(z_j^{(L)}) is missing.") if is_formula] == ["g'(z_j^{(L)})"]
    assert [p for is_formula, p in pieces("sum_j y_j = 1") if is_formula] == []
    assert [p for is_formula, p in pieces("in file my_file.tex") if is_formula] == []
    assert pieces("costs $5") == [(False, "costs $5")]


PARTS = st.sampled_from(
    [*r"{}[]()_^&$%#~'=+-*/.,|<>`", r"\\", r"\frac", r"\sqrt", r"\hat", r"\left", r"\right", r"\sum", r"\partial", r"\begin{a}", r"\end{a}", r"\text{", "\\", "w_{jk}", "a", "12",
     " ", "\n", "\x1b", "\u202e", "\ud800", "</script>", "<img>", r"\label{x}", r"\htmlClass{slip}{", "δ", "漢"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(PARTS, max_size=40).map("".join), st.lists(st.tuples(st.integers(-3, 90), st.integers(-3, 90)), max_size=3)
)
def test_every_text_is_shown_somehow(latex: str, places: list[tuple[int, int]]) -> None:
    marks = tuple(Mark(*p) for p in places)
    c = Counterexample((2,), {latex: 1}, {latex: [[latex, "1/0"], latex]}, latex, "1/0")
    f = Finding(1, 1, 1, latex, "refuted", "refuted", message=latex, fixes=(Fix("sign", latex, latex, marks, marks),),
                counterexample=c, marks=marks, proof=(latex,), right=((latex, latex),))  # fmt: skip
    report = Report(latex, (f,), goal=latex, answered=False)
    for text in (
        report.text(),
        report.text(ascii=True, columns=30),
        report.markdown(),
        report.json(),
        report._repr_html_(),
    ):
        assert all(c == "\n" or printable(c) == c for c in text)
    shown = "\n".join(findings_html.shown(report, "c"))
    assert not re.search(r"<(?:script|img)|\x1b|\u202e", shown)
    assert Report.from_record(json.loads(report.json())) == report


@pytest.mark.parametrize(
    "latex", [r"\hat" * 700, r"\sqrt" * 500, "{" * 1400 + "}" * 1400, "}" * 2900, "_" * 2900, "a_{" * 900, r"\left(" * 400, "'" * 2900]
)  # fmt: skip
def test_what_is_nested_without_end_is_shown_all_the_same(latex: str) -> None:
    marks = (Mark(0, 1), Mark(len(latex) // 2, len(latex)), Mark(1400, 1401))
    report = Report(
        "", (Finding(1, 1, 1, latex, "refuted", "refuted", marks=marks, fixes=(Fix("sign", latex, "", marks, marks),)),)
    )
    assert report.text() and report.markdown() and report.html() and marked(latex, marks, "slip") is not None


# ---------------------------------------------------------------- files


def test_a_report_is_saved_by_its_ending(tmp_path: Path) -> None:
    for ending, begin in ((".html", "<!DOCTYPE html>"), (".md", "# hw.tex"), (".json", "{"), (".txt", "✓ 1")):
        HOMEWORK.save(tmp_path / f"r{ending}")
        assert (tmp_path / f"r{ending}").read_text(encoding="utf-8").startswith(begin)
    with pytest.raises(UnknownNameError, match="a check has no format 'tex'"):
        HOMEWORK.save(tmp_path / "r.tex")
    assert not (tmp_path / "r.tex").exists()


def test_forty_claims_keep_their_order_and_place() -> None:
    heads = re.findall(r"^\S+ (\d+)  (cell \d+, line 2)", LONG.text(), re.MULTILINE)
    assert heads == [(str(n), f"cell {n}, line 2") for n in range(1, 41)]


def test_a_fix_is_the_first_repair_and_its_cause_the_first_cause() -> None:
    f = Finding(
        1, 1, 1, "a", "refuted", "refuted", fixes=(Fix("sign", "-a"), Fix("factor", "2a")), named=("other", "sign")
    )
    assert f.fix == "-a" and f.causes == ("sign", "factor", "other")


@pytest.mark.parametrize(("theme", "nth"), [("light", 0), ("dark", 1)])
def test_verdicts_can_be_read_on_their_background(theme: str, nth: int) -> None:
    from importlib.resources import files

    from test_html import contrast

    from symbackprop.render.html import BACKGROUNDS

    def colours(sheet: str, names: str) -> list[str]:
        text = files("symbackprop.render").joinpath("web", sheet).read_text(encoding="utf-8")
        return [re.findall(rf"--{name}: #(\w{{6}})", text)[nth] for name in names.split()]

    for colour in (*colours("check.css", "open lost name"), *colours("page.css", "good bad muted")):
        assert contrast(colour, BACKGROUNDS[theme]) >= 4.5
