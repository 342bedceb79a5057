"""The HTML page: one file, nothing fetched, nothing injected, every formula set by the KaTeX that it carries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from symbackprop.check import check_record
from symbackprop.derivation import Detail
from symbackprop.derive import derive
from symbackprop.errors import UnknownNameError
from symbackprop.indices import affine
from symbackprop.models import find_notation
from symbackprop.network import System, dense_system
from symbackprop.notation import DEEPLIZARD
from symbackprop.render.document import Closing, Code, Display, Document, Heading, Prose, Rows, build
from symbackprop.render.formats import ROLE_COLOURS
from symbackprop.render.html import BACKGROUNDS, DARK_COLOURS, Diagram, html
from symbackprop.symbols import Expr, Partial, Ref

NIELSEN, THREE_BLUE = find_notation("nielsen"), find_notation("3b1b")

COST, LAST = Ref("C_0", ()), affine("L")
DEEP, SOFTMAX = dense_system(), dense_system(loss="softmax_cross_entropy")
SIZED = dense_system([4, 3, 2], activation="sigmoid", bias=True)
CASES = {
    "weight": (DEEP, "w", ("l", "j", "k"), DEEPLIZARD, frozenset[str]()),
    "last": (DEEP, "w", (LAST, 1, 2), DEEPLIZARD, frozenset[str]()),
    "hidden": (DEEP, "w", (LAST - 1, 2, 2), DEEPLIZARD, frozenset[str]()),
    "nielsen": (DEEP, "w", ("l", "j", "k"), NIELSEN, frozenset({"z"})),
    "sized": (SIZED, "w", (1, 0, 2), THREE_BLUE, frozenset[str]()),
    "softmax": (SOFTMAX, "z", (LAST, "j"), DEEPLIZARD, frozenset[str]()),
}


@cache
def documents(case: str) -> dict[str, Document]:
    system, family, indices, notation, named = CASES[case]
    record = derive(system, Partial(COST, system.families[family][indices]), named=named)
    check = check_record(record) if case == "last" else None
    return {d.name.lower(): build(record, notation, d, check) for d in Detail}


class Page(HTMLParser):
    """The elements of a page, the text of its formulas, and what its attributes refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.formulas: list[str] = []
        self.marked: list[str] = []
        self.shown = self.words = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        self.tags.append((tag, given))
        self.inside = "m" if "m" in given.get("class", "").split() else tag
        if self.inside == "m":
            self.formulas.append("")
            self.marked += [given["data-tex"]] if "data-tex" in given else []

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "m":
            self.formulas[-1] += data
        elif self.inside not in ("style", "script"):
            self.words += data

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.tags if "id" in a]


def without_scripts(page: str) -> str:
    return re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("case", CASES)
def test_a_page_refers_to_nothing_outside_itself(case: str) -> None:
    page = html(documents(case), "lecture")
    assert set(re.findall(r"https?://[^\s\"'`)<]*", page)) <= {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/2000/svg",
    }
    assert not re.findall(r"@import|url\((?!data:)", page)
    for tag, attrs in Page(page).tags:
        assert "src" not in attrs and tag not in ("iframe", "object", "embed", "base", "form")
        assert attrs.get("href", "#").startswith(("#", "data:,"))
    assert len(page.encode()) < 700_000


@pytest.mark.parametrize("case", CASES)
def test_references_lead_to_a_row_and_ids_are_unique(case: str) -> None:
    page = Page(html(documents(case)))
    ids = page.ids()
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids


def test_every_line_of_every_detail_is_in_the_page() -> None:
    from symbackprop.render.latex import WebLatex

    for case in CASES:
        given = documents(case)
        page = Page(html(given))
        formulas = {*page.formulas, *page.marked}
        assert not any("htmlClass" in f for f in page.formulas)
        for d in given.values():
            p = WebLatex(d.system, d.notation, roles=True)
            for b in d.blocks:
                for row in b.rows if isinstance(b, Rows) else ():
                    assert f"= {p(row.right)}" in formulas
                    assert row.left is None or p(row.left) in formulas


def test_the_detail_asked_for_is_shown_and_the_others_are_a_switch_away() -> None:
    for detail in ("brief", "lecture", "full"):
        page = Page(html(documents("weight"), detail))
        sections = {a["id"]: "hidden" in a for t, a in page.tags if t == "section"}
        assert sections == {n: n != detail for n in ("brief", "lecture", "full")}
        radios = {a["value"]: "checked" in a for t, a in page.tags if t == "input"}
        assert radios == {n: n == detail for n in ("brief", "lecture", "full")}
    alone = Page(html({"lecture": documents("weight")["lecture"]}))
    assert not [t for t, _ in alone.tags if t == "input"]


def test_a_detail_that_is_not_there_is_refused() -> None:
    lecture = {"lecture": documents("weight")["lecture"]}
    for given, detail in ((lecture, "full"), (lecture, "lectur"), ({"<b>": lecture["lecture"]}, "<b>")):
        with pytest.raises(UnknownNameError, match="no document of detail"):
            html(given, detail)


ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"' & {{(1)"


def test_text_cannot_become_markup() -> None:
    d = documents("weight")["lecture"]
    rows = next(b for b in d.blocks if isinstance(b, Rows))
    blocks = (
        Heading((ATTACK,)),
        Rows((replace(rows.rows[0], why=(ATTACK,)),)),
        Prose((ATTACK,)),
        Code(ATTACK + "# " + ATTACK, ATTACK),
        Display(ATTACK, ATTACK),
        Closing(ATTACK, False),
    )
    system = replace(d.system, families=d.system.families | {"y": replace(d.system.families["y"], meaning=ATTACK)})
    notation = replace(d.notation, source=ATTACK, letters={"a": ATTACK})
    hostile = Document((ATTACK,), blocks, system, notation, d.goal)
    clean, page = (html({"lecture": x}, language="en") for x in (replace(d, blocks=blocks[:0]), hostile))
    assert page.count("</script>") == clean.count("</script>") == 3
    tags = Page(page).tags
    assert not [t for t, _ in tags if t == "img"]
    assert not [k for _, a in tags for k in a if k.startswith("on")]
    assert ATTACK in Page(page).formulas and ATTACK in Page(page).words.replace("\n", "")
    assert 'lang="&quot;&gt;"' in html({"lecture": d}, language='">')


def test_the_policy_admits_the_scripts_of_the_page_and_no_other() -> None:
    import base64
    import hashlib

    page = html(documents("weight"))
    policy = next(a["content"] for t, a in Page(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 3
    for s in scripts:
        assert base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() in policy


def test_what_a_reader_needs_is_marked_up() -> None:
    page = html(documents("last"))
    assert '<html lang="en">' in page and '<meta charset="utf-8">' in page and 'name="viewport"' in page
    assert "<title>Derivation of ∂C₀/∂w₁₂⁽ᴸ⁾</title>" in page
    assert 'class="closing good"' in page and "✓" in page
    assert 'class="row boxed' in page and "<details" in page
    for role in ROLE_COLOURS:
        assert f'<li class="{role}">' in page
    words = without_scripts(page)
    assert 'aria-label="The paths from w₁₂⁽ᴸ⁾ to C₀"' in words


def contrast(a: str, b: str) -> float:
    """WCAG contrast of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "colours"), [("light", ROLE_COLOURS), ("dark", DARK_COLOURS)])
def test_roles_can_be_read_on_their_background(theme: str, colours: dict[str, str]) -> None:
    assert colours.keys() == ROLE_COLOURS.keys()
    for colour in colours.values():
        assert contrast(colour, BACKGROUNDS[theme]) >= 4.5
    assert contrast("AAAAAA", BACKGROUNDS["light"]) < 4.5


# ---------------------------------------------------------------- the diagram


def diagram(system: System, goal: Expr) -> Diagram | None:
    d = documents("weight")["lecture"]
    return Diagram.of(replace(d, system=system, goal=goal))


def test_the_diagram_lights_the_edge_and_every_path_to_the_cost() -> None:
    d = diagram(DEEP, Partial(COST, DEEP.families["w"]["l", "j", "k"]))
    assert d is not None
    assert [str(c.layer) for c in d.columns] == ["l-1", "l", "l+1", "L"]
    assert d.goal == {"e0-2-1"}
    assert d.lit == {"e0-2-1", "n1-1", "e1-1-", "n2", "e2", "n3", "e3", "cost"}


def test_at_the_output_one_node_reaches_the_cost_except_under_softmax() -> None:
    z = DEEP.families["z"][LAST, "j"]
    plain, soft = diagram(DEEP, Partial(COST, z)), diagram(SOFTMAX, Partial(COST, z))
    assert plain is not None and soft is not None
    assert plain.lit == {"n1-1", "e1-1-", "cost"}
    assert soft.lit == {"n1-1", "n1", "e1", "cost"}


def test_a_sized_network_is_drawn_with_its_own_nodes() -> None:
    d = diagram(SIZED, Partial(COST, SIZED.families["w"][1, 0, 2]))
    assert d is not None
    assert [c.drawn for c in d.columns] == [4, 3, 2] and not d.gaps
    assert d.goal == {"e0-2-0"}


def test_a_factor_points_at_what_it_is_about() -> None:
    rows = [r for b in documents("weight")["lecture"].blocks if isinstance(b, Rows) for r in b.rows]
    d = diagram(DEEP, Partial(COST, DEEP.families["w"]["l", "j", "k"]))
    assert d is not None
    chain = next(d.touched(r.right) for r in rows if r.why == ("chain rule",))
    assert chain["incoming"] == {"e0-2-1"} and chain["slope"] == {"n1-1"}
    assert {"n1-1", "e1-1-", "cost"} <= chain["upstream"]


def test_no_diagram_without_layers() -> None:
    assert diagram(DEEP, DEEP.families["w"]["l", "j", "k"]) is None
    assert diagram(DEEP, Partial(COST, DEEP.families["y"]["j"])) is None


# ---------------------------------------------------------------- KaTeX itself

SET = """
const katex = require(process.argv[1]);
const formulas = JSON.parse(require("fs").readFileSync(0, "utf8"));
const bad = [];
for (const f of formulas) {
  try { katex.renderToString(f, { throwOnError: true, trust: true, strict: "ignore", displayMode: true }); }
  catch (e) { bad.push([f, String(e)]); }
}
console.log(JSON.stringify(bad));
"""


def refused(formulas: list[str]) -> list[list[str]]:
    """The formulas that the vendored KaTeX does not take."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH to run KaTeX in")
    katex = str(files("symbackprop.render").joinpath("web", "katex.min.js"))
    done = subprocess.run(
        [node, "-e", SET, katex], input=json.dumps(formulas), capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_katex_sets_every_formula() -> None:
    pages = [Page(html(documents(case))) for case in CASES]
    formulas = sorted({f for page in pages for f in page.formulas + page.marked})
    assert any("htmlClass" in f for f in formulas)
    assert len(formulas) > 150
    assert refused(formulas) == []


def test_katex_refuses_what_is_wrong() -> None:
    assert [f for f, _ in refused([r"\frac{1}{2}", r"\frac{1}{2", r"\nosuch"])] == [r"\frac{1}{2", r"\nosuch"]
