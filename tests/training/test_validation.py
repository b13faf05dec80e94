"""Figures with the real encoder, against the same computed by hand."""

import cv2
import numpy as np
import pytest

from kcompress.codecs import CODECS, decode
from kcompress.encoding import encode
from kcompress.images import Image
from kcompress.metrics.psnr import psnr
from kcompress.setting import Setting
from kcompress.training import validation
from kcompress.training.validation import Judge

pytestmark = pytest.mark.encoders


class Blur:
    """A preprocessor."""

    name, network, conditioned = "blur", "blur", False

    def __call__(self, image: Image, setting: Setting) -> Image:
        return image.with_pixels(np.asarray(cv2.GaussianBlur(image.pixels, (0, 0), 0.6), np.uint8))


class Nothing:
    """One that does nothing."""

    name, network, conditioned = "nothing", "nothing", False

    def __call__(self, image: Image, setting: Setting) -> Image:
        return image


@pytest.fixture(scope="module")
def judge(lake: Image, balloons: Image) -> Judge:
    return Judge("jpeg", 75, ["psnr", "ssimulacra2"], [lake.pixels[:160, :200], balloons.pixels[:120, :150]])


def test_a_picture_that_nothing_changes_is_no_hole_in_the_figures() -> None:
    flat = np.full((64, 64, 3), 255, np.uint8)
    figures = Judge("jpeg", 75, ("psnr", "ssimulacra2"), [flat])(Blur())
    assert all(value is None or np.isfinite(value) for value in figures.values())
    assert figures["psnr_change"] == 0 and figures["size_at_equal_psnr_percent"] is not None


def test_doing_nothing_changes_nothing(judge: Judge) -> None:
    found = judge(Nothing())
    assert list(found) == judge.names and set(found.values()) == {0}
    assert judge.decides == "size_at_equal_psnr_percent" and judge.decides in found


def test_figures_are_those_of_the_files(judge: Judge, lake: Image, balloons: Image) -> None:
    found = judge(Blur())
    codec, pictures = CODECS["jpeg"], [Image(lake.pixels[:160, :200]), Image(balloons.pixels[:120, :150])]
    sizes, changes, paid = np.zeros(2), [], []
    for image in pictures:
        files = [encode(image, codec, codec.setting(75), chosen).data for chosen in (Blur(), None)]
        sizes += [len(data) for data in files]
        with_blur, without = (psnr(image.pixels, decode(data).pixels) for data in files)
        changes.append(with_blur - without)
        ladder = [encode(image, codec, codec.setting(quality)).data for quality in judge.qualities]
        scores = [psnr(image.pixels, decode(data).pixels) for data in ladder]
        slope = np.polyfit(scores, np.log([len(data) for data in ladder]), 1)[0]
        paid.append(np.log(len(files[0]) / len(files[1])) - slope * changes[-1])
    assert found["size_change_percent"] == pytest.approx(100 * (sizes[0] / sizes[1] - 1), abs=1e-3)
    assert found["psnr_change"] == pytest.approx(np.mean(changes), abs=1e-3)
    assert found["size_at_equal_psnr_percent"] == pytest.approx(100 * (np.exp(np.mean(paid)) - 1), abs=2e-3)
    size, change, equal = (found[name] for name in ("size_change_percent", "psnr_change", judge.decides))
    assert size is not None and change is not None and equal is not None
    assert size < 0 > change and equal > size


@pytest.mark.parametrize(
    ("codec", "quality", "expected"),
    [("jpeg", 75, (45, 60, 75, 87)), ("webp", 10, (0, 10, 22)), ("hevc", 28, (43, 36, 28, 22))],
)
def test_qualities_lie_around_the_one(codec: str, quality: int, expected: tuple[int, ...]) -> None:
    assert Judge(codec, quality, ["psnr"], []).qualities == expected


def test_the_middle_of_large_pictures_is_taken(monkeypatch: pytest.MonkeyPatch, lake: Image) -> None:
    monkeypatch.setattr(validation, "SIDE", 64)
    small = Judge("jpeg", 75, ["psnr"], [lake.pixels[100:164, 200:264]])
    whole = Judge("jpeg", 75, ["psnr"], [lake.pixels[:264, :464]])
    assert small(Blur()) == whole(Blur())


def test_a_score_that_falls_with_the_rate_is_not_paid_for(monkeypatch: pytest.MonkeyPatch, judge: Judge) -> None:
    points = [validation._Point(size, size / 100, {"psnr": score}) for size, score in ((100, 9.0), (200, 8.0))]
    assert validation._slope(points, "psnr", 1) == 0
    assert validation._slope(points, "psnr", -1) == pytest.approx(np.log(2))
    assert validation._slope(points[:1], "psnr", 1) == 0
