"""A point as a row of points.csv."""

from dataclasses import replace
from pathlib import Path

from kcompress.csv_rows import Rows
from kcompress.evaluation.points import Key, Point

POINT = Point(
    "a b/ü.png", "0" * 64, "jpeg", "pillow", "Pillow 1, turbo 2", "none", 75, 3, 5, 100, 8 * 100 / 15, 0.1, 0.2,
    {"psnr": 31.25, "ssimulacra2": 70.123456789012345},
)  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    rows = Rows(Point, ("ssimulacra2", "psnr"))
    points = [POINT, replace(POINT, preprocessor="nlm:h=10", scores={"psnr": float("inf")})]
    rows.write(tmp_path / "points.csv", points)
    assert rows.read(tmp_path / "points.csv") == points


def test_the_columns_are_those_that_older_files_have() -> None:
    assert ",".join(Rows(Point, ("ssimulacra2", "psnr")).header) == (
        "picture,sha256,codec,backend,version,preprocessor,quality,width,height,bytes,bpp,"
        "preprocess_seconds,encode_seconds,ssimulacra2,psnr"
    )


def test_the_key_is_what_was_encoded_and_how() -> None:
    assert POINT.key == Key("a b/ü.png", "0" * 64, "jpeg", "pillow", "Pillow 1, turbo 2", "none", 75)
    assert replace(POINT, bytes=1, scores={}).key == POINT.key
