"""Crops side by side: the picture, the piece and the files that are shown."""

import base64
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from kcompress.codecs import CODECS, decode
from kcompress.dataset import DataSet
from kcompress.encoding import encode
from kcompress.evaluation.crops import most_changed, rows
from kcompress.evaluation.page import Shown
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.points import Point
from kcompress.evaluation.sweep import measure
from kcompress.images import Image, Pixels, read, write
from kcompress.pool import group_named

NAMES = ["flat.png", "lake.png", "more.png"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, lake: Image) -> tuple[Plan, list[Point]]:
    """Two pieces of a photograph, one of them smaller than a crop, and one flat picture; two filters, by Pillow."""
    place = tmp_path_factory.mktemp("photos")
    pictures = (np.full((150, 180, 3), 90, np.uint8), lake.pixels[100:260, 200:420], lake.pixels[:100, :170])
    for name, pixels in zip(NAMES, pictures, strict=True):
        (place / name).write_bytes(write(Image(pixels), "PNG"))
    plan = Plan(DataSet(str(place)), {"jpeg": (40, 70, 90)}, ("none", "detail", "blur"), ("psnr",), backend="pillow")
    return plan, [point for name in NAMES for point in measure(plan, name, "jpeg", {}).points]


def pixels(shown: Shown) -> Pixels:
    return read(base64.b64decode(shown.source.partition(",")[2])).pixels


def test_the_picture_with_the_widest_scores_comes_first(measured: tuple[Plan, list[Point]]) -> None:
    plan, points = measured
    spread = {}
    for name in NAMES:
        scores = [p.scores["psnr"] for p in points if (p.picture, p.quality) == (name, 70)]
        spread[name] = max(scores) - min(scores)
    assert spread["flat.png"] == min(spread.values())
    first, second = sorted(NAMES[1:], key=lambda name: -spread[name])
    assert [row.title for row in rows(plan, points)] == [f"jpeg: {first}", f"jpeg: {second}"]


def test_the_crops_are_pieces_of_the_files(measured: tuple[Plan, list[Point]]) -> None:
    plan, points = measured
    row = next(row for row in rows(plan, points) if row.title == "jpeg: lake.png")
    assert [crop.name for crop in row.crops] == ["original", "plain", "detail", "blur"]
    image, codec = read(plan.dataset.read("lake.png")), CODECS["jpeg"]
    decoded = []
    for name, crop in zip(("none", "detail", "blur"), row.crops[1:], strict=True):
        effort = 1 if name == "none" else None
        chosen = None if name == "none" else group_named(name)
        data = encode(image, codec, codec.setting(70, effort=effort), chosen, "pillow").data
        (point,) = [p for p in points if (p.picture, p.preprocessor, p.quality) == ("lake.png", name, 70)]
        assert crop.caption == f"{len(data):,} bytes, q 70, psnr {point.scores['psnr']:#.4g}"
        decoded.append(decode(data).pixels)
    window = most_changed(decoded, (120, 160))
    for whole, crop in zip([image.pixels, *decoded], row.crops, strict=True):
        assert np.array_equal(pixels(crop), whole[window])
    small = next(row for row in rows(plan, points) if row.title == "jpeg: more.png")
    assert {(crop.width, crop.height) for crop in small.crops} == {(160, 100)}


def test_at_equal_bits_the_files_are_those_that_meet(measured: tuple[Plan, list[Point]]) -> None:
    plan = replace(measured[0], match_bpp=True)
    points = list(measure(plan, "lake.png", "jpeg", {}).points)
    (row,) = rows(plan, points)
    sizes = [int(crop.caption.partition(" ")[0].replace(",", "")) for crop in row.crops[1:]]
    assert max(sizes) / min(sizes) < 1.04
    assert "q 70," in row.crops[1].caption and "q 70," not in row.crops[2].caption


def test_one_preprocessor_and_peers_make_no_row(measured: tuple[Plan, list[Point]]) -> None:
    plan, points = measured
    few = [point for point in points if point.preprocessor != "blur"]
    assert not list(rows(plan, few))
    assert not list(rows(plan, [*few, *(replace(p, preprocessor="mozjpeg") for p in few)]))
    unscored: Sequence[Point] = [replace(point, scores={}) for point in points]
    assert not list(rows(plan, unscored))


def test_the_window_of_the_largest_difference() -> None:
    pictures = np.full((3, 40, 60, 3), 100, np.uint8)
    pictures[1, 20:28, 33:45] = 90
    pictures[2, 24:32, 33:45] = 240  # against each other these differ by more than against the first
    pictures[1, 24:28, 33:45] = 0
    assert most_changed(list(pictures), (8, 12)) == (slice(24, 32), slice(33, 45))
    assert most_changed(list(pictures), (100, 12)) == (slice(0, 40), slice(33, 45))
    assert most_changed([pictures[0]] * 2, (8, 12)) == (slice(0, 8), slice(0, 12))
