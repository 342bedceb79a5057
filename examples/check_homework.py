"""A hand-in checked line by line: what is proved, what is refuted, which slip it is and how the line would be right.

Run it from anywhere:

    python examples/check_homework.py [--out FOLDER]

It checks homework.tex, which lies beside this file and has two slips, prints the report, writes it as a web page to
out/homework.html, and then checks the same hand-in with both repairs put in.
"""

import argparse
from pathlib import Path

from symbackprop import load

HOMEWORK = Path(__file__).with_name("homework.tex")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the web page goes (out)")
    options = parser.parse_args()
    net = load("deeplizard")

    # 1. The hand-in as it is.
    text = HOMEWORK.read_text(encoding="utf-8")
    report = net.check(text, goal="w_jk^L", name=HOMEWORK.name)
    print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.out / "homework.html"
    report.save(page)
    print(f"wrote {page}")

    # 2. The same as a program sees it.
    for claim in report.claims:
        if claim.verdict == "refuted":
            at = claim.counterexample
            print(f"{claim.place}: {claim.causes[0]}; at {at.point()} left {at.left}, right {at.right}")

    # 3. With the repairs in place of the wrong lines, every claim is proved and the question is answered.
    repaired = text.replace(r"\, a_k^{(L-1)}", r"\, g'^{(L)}(z_j^{(L)})\, a_k^{(L-1)}").replace("w_{kj}", "w_{jk}")
    again = net.check(repaired, goal="w_jk^L")
    print(f"repaired: {again.verdict}, answered: {again.answered}")
    assert again


if __name__ == "__main__":
    main()
