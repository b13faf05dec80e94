"""points.csv: what is written is read; a kill at any byte leaves a readable file."""

from dataclasses import replace
from pathlib import Path

import pytest

from kcompress.errors import InputError
from kcompress.evaluation.points import Journal, Point, read, write

POINT = Point(
    "a b/ü.png", "0" * 64, "jpeg", "pillow", "Pillow 1, turbo 2", "none", 75, 3, 5, 100, 8 * 100 / 15, 0.1, 0.2,
    {"psnr": 31.25, "ssimulacra2": 70.123456789012345},
)  # fmt: skip
METRICS = ("ssimulacra2", "psnr")
NAMES = ["plain.png", 'quote",comma.png', "line\nfeed.png", "\udcff.png"]


def test_round_trip(tmp_path: Path) -> None:
    points = [replace(POINT, picture=name, scores={"psnr": float("inf")}) for name in NAMES] + [POINT]
    write(tmp_path / "points.csv", points, METRICS)
    assert read(tmp_path / "points.csv", METRICS) == points


def test_a_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    for quality in (10, 20):
        journal = Journal(path, METRICS)
        journal.append([replace(POINT, quality=quality)])
        journal.close()
    assert [point.quality for point in read(path, METRICS)] == [10, 20]


def test_a_file_cut_anywhere_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    write(path, [replace(POINT, quality=quality) for quality in range(3)], METRICS)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) + 1):
        path.write_bytes(whole[:length])
        assert [point.quality for point in read(path, METRICS)] == list(range(whole[:length].count(b"\n") - 1))


def test_other_metrics_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "points.csv", [POINT], METRICS)
    with pytest.raises(InputError, match="other columns"):
        read(tmp_path / "points.csv", ("psnr",))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    write(path, [POINT], METRICS)
    path.write_text(path.read_text() + "nonsense,1\n")
    with pytest.raises(InputError, match="line 3"):
        read(path, METRICS)
