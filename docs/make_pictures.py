"""Make the pictures of the README from the web pages that symbackprop writes.

Needs Chromium on the path. The heights cut each page off below its last line.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from symbackprop import dense, load

HOMEWORK = Path(__file__).parent.parent / "examples" / "homework.tex"
IMAGES = Path(__file__).parent / "images"
PICTURES = (
    # file, goal, detail, height, pixels for each pixel of the page
    ("derivation.png", "w_22^{L-1}", "brief", 1190, 2),
    ("lecture.png", "w_12^L", "lecture", 2430, 1.25),
    ("check.png", "", "", 1312, 1.25),
)


def write_page(page: Path, goal: str, detail: str) -> None:
    """The page of one derivation; without a goal, that of the checked homework."""
    if goal:
        dense().derive(goal).save(page, detail=detail)
    else:
        load("deeplizard").check(HOMEWORK.read_text(encoding="utf-8"), name=HOMEWORK.name).save(page)


def picture(name: str, goal: str, detail: str, height: int, scale: float) -> None:
    """Write one picture: the top `height` pixels of one page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium found; it is needed to make the pictures")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        write_page(page, goal, detail)
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--force-device-scale-factor={scale}",
                f"--window-size=1000,{height}",
                f"--screenshot={IMAGES / name}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
    print(f"wrote docs/images/{name}")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for arguments in PICTURES:
        picture(*arguments)
