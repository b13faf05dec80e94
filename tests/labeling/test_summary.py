"""What came out, as a table and as a picture: means by hand, and nothing that stumbles over odd numbers."""

import io
import itertools
from dataclasses import replace
from math import inf
from typing import Any
from unittest import mock

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image as Pil

from kcompress.labeling.plot import plot
from kcompress.labeling.summary import LABELS, ONE, cells, header, markdown, summarise
from kcompress.labels import Row

GROUPS = ["identity", "nlm", "detail"]


def row(path: str, group: str, size: int | None, score: float, chosen: int = 0, left: int = 0) -> Row:
    return Row(
        path=path, sha256=path, patch="", left=left, top=0, group=group, codec="jpeg", backend="pillow", version="1",
        quality=75, width=10, height=8, bytes=size, bpp=size and 8 * size / 80, z_quality=None, z_bpp=None, score=None,
        chosen=chosen, label="", seconds=0.0, error="" if size else "it broke.", scores={"psnr": score} if size else {},
    )  # fmt: skip


ROWS = [
    row("a", "identity", 1000, 40), row("a", "nlm", 800, 39, chosen=1), row("a", "detail", None, 0),
    row("b", "identity", 500, 30), row("b", "nlm", 450, 29.5, chosen=1), row("b", "detail", 600, 28),
    row("b", "identity", 500, 30, left=8), row("b", "nlm", 500, 28, left=8), row("b", "detail", 400, 31, 1, left=8),
    row("c", "identity", 200, 35, chosen=1), row("c", "nlm", 210, 34), row("c", "detail", 300, 33),
]  # fmt: skip


def test_the_means_by_hand() -> None:
    lines = summarise(ROWS, GROUPS, ["psnr"])
    assert [line.group for line in lines] == ["nlm", "identity", "detail", LABELS]
    found = {line.group: line for line in lines}
    assert [(line.wins, line.share, line.errors) for line in lines] == [
        (2, 0.5, 0),
        (1, 0.25, 0),
        (1, 0.25, 1),
        (4, 1, 0),
    ]
    nlm = found["nlm"]
    assert nlm.where_chosen.size == pytest.approx((-20 - 10) / 2)
    assert nlm.where_chosen.scores == pytest.approx({"psnr": (-1 - 0.5) / 2})
    assert nlm.everywhere.size == pytest.approx((-20 - 10 + 0 + 5) / 4)
    assert nlm.everywhere.scores == pytest.approx({"psnr": (-1 - 0.5 - 2 - 1) / 4})
    assert found["detail"].everywhere.count == 3
    assert found["detail"].everywhere.size == pytest.approx((20 - 20 + 50) / 3)
    assert found[LABELS].everywhere == found[LABELS].where_chosen
    assert found[LABELS].everywhere.size == pytest.approx((-20 - 10 - 20 + 0) / 4)
    assert (found["identity"].everywhere.size, found["identity"].everywhere.scores) == (0, {"psnr": 0})


def test_patches_are_set_beside_one_group_a_picture() -> None:
    scores = {  # of b's two patches: nlm is the second best of one, and the best on average
        ("b", 0): {"identity": -1.0, "nlm": 0.5, "detail": 0.3}, ("b", 8): {"identity": 0.0, "nlm": 0.8, "detail": 0.9},
        ("c", 0): {"identity": 1.0, "nlm": 0.0, "detail": -1.0}, ("a", 0): {"identity": -1.0, "nlm": 1.0},
    }  # fmt: skip
    rows = [replace(each, patch="8x8", score=scores[each.path, each.left].get(each.group)) for each in ROWS]
    lines = summarise(rows, GROUPS, ["psnr"])
    assert [line.group for line in lines[-2:]] == [ONE, LABELS]
    one = lines[-2]
    assert (one.wins, one.share) == (3, 0.75)  # all but b's second patch
    assert one.everywhere.size == pytest.approx((-20 - 10 + 0 + 0) / 4)
    assert one.everywhere.scores == pytest.approx({"psnr": (-1 - 0.5 - 2 + 0) / 4})
    assert f"`{ONE}` has, for all patches" in markdown(lines, ["psnr"], "Heading")
    assert ONE not in markdown(summarise(ROWS, GROUPS, ["psnr"]), ["psnr"], "Heading")
    with Pil.open(io.BytesIO(plot(lines, ["psnr"], "heading"))) as picture:
        assert picture.format == "PNG"


def test_a_line_as_text() -> None:
    lines = summarise(ROWS, GROUPS, ["psnr"])
    assert header(["psnr"]) == ["group", "wins", "share", "size there", "psnr there", "size everywhere",
                                "psnr everywhere", "errors"]  # fmt: skip
    assert cells(lines[0], ["psnr"]) == ["nlm", "2", "50%", "-15.0%", "-0.75", "-6.2%", "-1.12", ""]
    assert cells(lines[2], ["psnr"], ["everywhere"]) == ["detail", "1", "25%", "+16.7%", "-1.00", "1"]
    text = markdown(lines, ["psnr"], "Heading").splitlines()
    assert text[0] == "# Heading"
    assert text[4] == "| nlm | 2 | 50% | -15.0% | -0.75 | -6.2% | -1.12 |  |"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [replace(each, scores={"psnr": inf}) for each in ROWS],
        [replace(each, bytes=None, bpp=None, chosen=0, scores={}) for each in ROWS],
        [each for each in ROWS if each.group != "identity"],
    ],
    ids=["nothing", "without loss", "all failed", "without the plain picture"],
)
def test_odd_rows_make_a_table_and_a_picture_too(rows: list[Row]) -> None:
    lines = summarise(rows, GROUPS, ["psnr"])
    assert len(lines) == 4
    assert all(line.everywhere.scores == {} for line in lines)
    assert markdown(lines, ["psnr"], "Heading").count("\n") == 10
    with Pil.open(io.BytesIO(plot(lines, ["psnr", "ssimulacra2"], "costs $1$ \udcff"))) as picture:
        assert picture.format == "PNG" and picture.width > picture.height > 300


def test_no_name_lies_over_another_and_wins_are_counted_in_whole_pictures() -> None:
    near = [replace(each, path=f"{number}", bytes=each.bytes and each.bytes - number, group=f"detail+shrink {number}")
            for number in range(9) for each in ROWS if each.group == "nlm"]  # fmt: skip
    lines = summarise([*ROWS, *near], [*GROUPS, *dict.fromkeys(each.group for each in near)], ["psnr"])
    with mock.patch.object(Figure, "savefig", autospec=True) as saved:
        plot(lines, ["psnr"], "heading")
    figure: Any = saved.call_args.args[0]
    figure.draw_without_rendering()
    wins, changes = figure.axes
    assert all(tick == round(tick) for tick in wins.get_xticks())
    boxes = [Text.get_window_extent(name) for name in changes.texts]  # without its line
    assert len(boxes) > 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.overlaps(changes.get_window_extent()) for box in boxes)
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)
