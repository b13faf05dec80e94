"""Measuring: the same numbers whatever the number of jobs, nothing twice, by the independent path."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from kcompress.codecs import CODECS, decode
from kcompress.dataset import DataSet
from kcompress.encoding import encode
from kcompress.errors import InputError, KcompressError
from kcompress.evaluation.ladder import ladder
from kcompress.evaluation.plan import Plan, check, preprocessor_of
from kcompress.evaluation.points import Point
from kcompress.evaluation.sweep import Measured, measure, sweep
from kcompress.images import Image, read
from kcompress.metrics import Scorer
from kcompress.networks.loading import load
from kcompress.workers import ahead, workers

pytestmark = pytest.mark.encoders


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos = tmp_path_factory.mktemp("photos")
    lake = np.asarray(Pil.open(Path(__file__).parents[1] / "images" / "lake.png").convert("RGB"))
    # SSIMULACRA2 is itself from 256 pixels on; the two larger ones are for the ladder.
    for number, (top, left, side) in enumerate(((200, 400, 96), (0, 0, 256), (140, 380, 256))):
        Pil.fromarray(lake[top : top + side, left : left + side + 4]).save(photos / f"{number}.png")
    return photos


NAMES = ["0.png", "1.png", "2.png"]


def plan(folder: Path) -> Plan:
    return Plan(
        DataSet(str(folder)), {"jpeg": (30, 60), "webp": (40,)}, ("none", "shrink", "detail"), ("ssimulacra2", "psnr")
    )


def timeless(point: Point) -> Point:
    return replace(point, preprocess_seconds=0, encode_seconds=0)


def swept(plan: Plan, names: Sequence[str], done: Iterable[Point], jobs: int) -> list[Measured]:
    with workers(jobs) as executor:
        return list(sweep(plan, names, done, executor, ahead=ahead(jobs)))


def measured(plan: Plan, jobs: int) -> list[Point]:
    results = sorted(swept(plan, NAMES, (), jobs), key=lambda each: (each.picture, each.codec))
    assert all(each.keys == tuple(point.key for point in each.points) for each in results)
    return [timeless(point) for each in results for point in each.points]


def test_every_combination_once_and_the_number_of_jobs_changes_nothing(folder: Path) -> None:
    points = measured(plan(folder), 1)
    assert len(points) == 3 * 3 * 3
    assert len({point.key for point in points}) == len(points)
    assert points == measured(plan(folder), 2)


def test_a_point_is_what_encode_and_the_metrics_say(folder: Path) -> None:
    image = read((folder / "0.png").read_bytes())
    codec = CODECS["jpeg"]
    encoded = encode(image, codec, codec.setting(30), load("shrink"))
    scores = Scorer(image.pixels, ["ssimulacra2", "psnr"])(decode(encoded.data).pixels)
    point = next(p for p in measured(plan(folder), 1) if (p.preprocessor, p.quality) == ("shrink", 30))
    assert (point.picture, point.bytes, point.bpp) == ("0.png", len(encoded.data), encoded.bpp)
    assert point.scores == pytest.approx(scores)


def test_without_a_preprocessor_the_encoder_is_as_it_comes(folder: Path) -> None:
    image, codec = read((folder / "0.png").read_bytes()), CODECS["jpeg"]
    points = {p.preprocessor: p.bytes for p in measured(plan(folder), 1) if (p.picture, p.quality) == ("0.png", 60)}
    assert points["none"] == len(encode(image, codec, codec.setting(60, effort=1)).data)
    assert points["none"] > len(encode(image, codec, codec.setting(60)).data)


def test_networks_are_told_of_the_backend(folder: Path) -> None:
    """mozjpeg has tables of its own, which decide what the network does."""
    pytest.importorskip("pyvips")
    asked = replace(plan(folder), qualities={"jpeg": (60,)}, preprocessors=("none", "rdo"), backend="mozjpeg")
    points = measure(asked, "0.png", "jpeg", {}).points
    image, codec = read((folder / "0.png").read_bytes()), CODECS["jpeg"]
    for point, preprocessor in zip(points, (None, load("rdo", device="auto", codec="jpeg")), strict=True):
        assert point.backend == "mozjpeg"
        assert point.bytes == len(encode(image, codec, codec.setting(60), preprocessor, "mozjpeg").data)


def test_what_is_done_is_left_out(folder: Path) -> None:
    every = measured(plan(folder), 1)
    done = every[::2]
    rest = [point for each in swept(plan(folder), NAMES, done, 1) for point in each.points]
    assert {point.key for point in rest} == {point.key for point in every[1::2]}


@pytest.mark.parametrize(("codec", "qualities", "apart"), [("jpeg", (40, 60, 85), 0.02), ("hevc", (34, 28), 0.13)])
def test_bits_are_matched(folder: Path, codec: str, qualities: tuple[int, ...], apart: float) -> None:
    """Every preprocessor has the plain files' sizes, by the qualities next to which none is nearer."""
    asked = replace(plan(folder), qualities={codec: qualities}, metrics=("psnr",), match_bpp=True)
    found = measure(asked, "0.png", codec, {})
    assert found.error is None and found.keys == tuple(point.key for point in found.points)
    by_name = {name: [p for p in found.points if p.preprocessor == name] for name in asked.preprocessors}
    assert [point.quality for point in by_name["none"]] == list(qualities)
    image, chosen = read((folder / "0.png").read_bytes()), CODECS[codec]
    for name in ("shrink", "detail"):
        for before, after in zip(by_name["none"], by_name[name], strict=True):
            assert abs(after.bytes / before.bytes - 1) < apart
            for quality in (after.quality - 1, after.quality + 1):
                other = encode(image, chosen, chosen.setting(quality), preprocessor_of(asked, name, codec))
                assert abs(len(other.data) - before.bytes) >= abs(after.bytes - before.bytes)
    finer = [chosen.quality.coarseness(p.quality) for p in (by_name["none"][0], by_name["detail"][0])]
    assert finer[0] < finer[1]  # what sharpening costs is taken from the quality
    # Resumed: the same, and what is there is not measured again.
    half = {point.key: point.bytes for point in found.points[::2]}
    again = measure(asked, "0.png", codec, half)
    assert again.keys == found.keys and {p.key for p in again.points} == set(found.keys) - set(half)


def test_a_broken_picture_is_reported_and_the_others_are_measured(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((folder / "0.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"nonsense")
    few = replace(plan(tmp_path), qualities={"jpeg": (50,)})
    results = {each.picture: each for each in swept(few, ["a.png", "b.png"], (), 1)}
    assert len(results["a.png"].points) == 3 and results["a.png"].error is None
    assert not results["b.png"].points and "b.png" in (results["b.png"].error or "")


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessors": ("nonsense",)},
        {"preprocessors": ("nlm:h=x",)},
        {"qualities": {"jpeg": (101,)}},
        {"backend": "mozjpeg"},
    ],
)
def test_a_plan_that_cannot_run_is_refused_at_once(folder: Path, change: dict) -> None:
    with pytest.raises(KcompressError):
        check(replace(plan(folder), **change))


@pytest.mark.slow
def test_the_ladder_spans_the_scale(folder: Path) -> None:
    qualities = ladder(DataSet(str(folder)), NAMES[1:], CODECS["jpeg"])
    assert list(qualities) == sorted(set(qualities)) and 5 <= len(qualities) <= 7
    image: Image = read((folder / "1.png").read_bytes())
    scorer = Scorer(image.pixels, ["ssimulacra2"])
    codec = CODECS["jpeg"]
    ends = [scorer(decode(encode(image, codec, codec.setting(q)).data).pixels)["ssimulacra2"] for q in qualities]
    assert ends[0] < 50 and ends[-1] > 80


def test_the_ladder_is_that_of_the_backend_that_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = set()

    def watching(encode):  # type: ignore[no-untyped-def]
        def watched(backend, image, setting):  # type: ignore[no-untyped-def]
            asked.add(backend.name)
            return encode(backend, image, setting)

        return watched

    for backend in CODECS["jpeg"].backends:
        monkeypatch.setattr(type(backend), "encode", watching(type(backend).encode))
    ladder(DataSet(str(folder)), NAMES[1:], CODECS["jpeg"], "pillow")
    assert asked == {"pillow"}
    with pytest.raises(InputError, match="no picture in"):
        ladder(DataSet(str(folder)), NAMES[1:], CODECS["jpeg"], "nonsense")
