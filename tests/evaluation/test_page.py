"""The page of compare: whole in one file, safe with any name, and what a browser makes of it."""

import base64
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image as Pil

from kcompress import __version__
from kcompress.evaluation.comparison import Comparison, File
from kcompress.evaluation.page import compare_page
from kcompress.images import Image

EVIL = '<script>alert("1")</script>&\'.png'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def flat(colour) -> Image:
    return Image(np.full((300, 400, 3), colour, np.uint8))


@pytest.fixture
def page() -> str:
    original = File(EVIL, 5000, flat((200, 40, 40)))
    blue = File("blue.webp", 1500, flat((40, 40, 200)), {"psnr": 12.3456, "ms-ssim": 0.5})
    dark = File("dark.jpg", 900, flat((190, 40, 60)), {"psnr": 30.0, "ms-ssim": None}, ("its colours were odd",))
    return compare_page(Comparison(original, (blue, dark), ("psnr", "ms-ssim"), ("a note of all",)))


def test_it_refers_to_nothing_outside(page):
    assert not re.search(r"(https?:)?//[\w.-]+\.\w", re.sub(r"base64,[\w+/=]+", "", page))
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "@import" not in page and "url(" not in page and "fetch(" not in page


def test_names_are_escaped(page):
    assert EVIL not in page and "alert(&#34;1&#34;)" in page
    assert page.count("<script>") == 1


def test_every_picture_is_there_as_it_was_scored(page):
    pictures = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([\w+/=]+)", page)]
    colours = [Pil.open(io.BytesIO(data)).getpixel((0, 0)) for data in pictures]
    assert sorted(colours) == sorted([(200, 40, 40), (40, 40, 200), (190, 40, 60)])


def test_numbers_and_notes(page):
    text = re.sub(r"<[^>]*>", " ", page)
    for words in ("12.35", "30.00", "0.5000", "1.5 kB", "0.100", "a note of all", "dark.jpg: its colours were odd"):
        assert words in text
    assert re.search(r'class="best">30.00<', page)


def test_the_tool_its_version_and_the_day_are_told(page):
    assert "<title>kcompress compare: " in page
    assert re.search(rf"kcompress {re.escape(__version__)}, \d+ [A-Z][a-z]+ 20\d\d<", page)


def test_every_cell_names_its_file_where_there_is_no_room_for_a_table(page):
    cells = re.findall(r"<td[^>]*>", page)
    assert cells and all("data-label=" in cell for cell in cells)
    assert sum('data-label="blue.webp"' in cell for cell in cells) == len(cells) // 3


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize(
    ("state", "left", "right"),
    [
        ("split=50", (200, 40, 40), (40, 40, 200)),
        ("split=50&file=2&zoom=4", (200, 40, 40), (190, 40, 60)),
        ("split=100", (200, 40, 40), (200, 40, 40)),
        ("view=side", (200, 40, 40), (40, 40, 200)),
        ("view=difference&gain=1", (160, 0, 160), (160, 0, 160)),
        ("view=difference&gain=8&file=2", (80, 0, 160), (80, 0, 160)),
    ],
)
def test_a_browser_shows_both_sides_of_the_split(page, tmp_path, state, left, right):
    """At 500 pixels, the picture fills the width: 100 and 400 lie well within it."""
    (tmp_path / "page.html").write_text(page)
    address = f"{(tmp_path / 'page.html').as_uri()}#{state}"
    options = [
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "hide-scrollbars", "force-device-scale-factor=1",
        "window-size=500,800", "virtual-time-budget=10000",
    ]  # fmt: skip
    places = [f"user-data-dir={tmp_path / 'profile'}", f"screenshot={tmp_path / 'shot.png'}"]
    argv = [CHROMIUM, *(f"--{option}" for option in options + places), address]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    with Pil.open(tmp_path / "shot.png") as shot:
        pixels = np.asarray(shot.convert("RGB")).astype(int)
    assert nearly(pixels[:, 100], left) and nearly(pixels[:, 400], right)


def nearly(column, colour) -> bool:
    """Whether a good part of a column of pixels has a colour."""
    return int((np.abs(column - colour).max(axis=1) <= 3).sum()) > 100
