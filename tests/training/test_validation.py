"""Figures with the real encoder, against the same computed by hand."""

import cv2
import numpy as np
import pytest

from kcompress.codecs import CODECS, decode
from kcompress.encoding import encode
from kcompress.images import Image
from kcompress.metrics.psnr import psnr
from kcompress.rate_distortion.slope import least_squares_slope
from kcompress.setting import Setting
from kcompress.training import validation
from kcompress.training.validation import CodecValidator, size_at_equal, weighted_size

pytestmark = pytest.mark.encoders


class Blur:
    """A preprocessor."""

    name, network, conditioned, strength = "blur", "blur", False, 1.0

    def __call__(self, image: Image, setting: Setting) -> Image:
        return image.with_pixels(np.asarray(cv2.GaussianBlur(image.pixels, (0, 0), 0.6), np.uint8))


class Nothing:
    """One that does nothing."""

    name, network, conditioned, strength = "nothing", "nothing", False, 1.0

    def __call__(self, image: Image, setting: Setting) -> Image:
        return image


@pytest.fixture(scope="module")
def validator(lake: Image, balloons: Image) -> CodecValidator:
    return CodecValidator("jpeg", 75, ["psnr", "ssimulacra2"], [lake.pixels[:160, :200], balloons.pixels[:120, :150]])


def test_a_picture_that_nothing_changes_is_no_hole_in_the_metrics() -> None:
    flat = np.full((64, 64, 3), 255, np.uint8)
    metrics = CodecValidator("jpeg", 75, ("psnr", "ssimulacra2"), [flat])(Blur())
    assert all(value is None or np.isfinite(value) for value in metrics.values())
    assert metrics["psnr_change"] == 0 and metrics["size_at_equal_psnr_percent"] is not None


def test_doing_nothing_changes_nothing(validator: CodecValidator) -> None:
    found = validator(Nothing())
    assert list(found) == validator.names and set(found.values()) == {0}
    assert size_at_equal("psnr") == "size_at_equal_psnr_percent" and size_at_equal("psnr") in found


def test_metrics_are_those_of_the_files(validator: CodecValidator, lake: Image, balloons: Image) -> None:
    found = validator(Blur())
    codec, pictures = CODECS["jpeg"], [Image(lake.pixels[:160, :200]), Image(balloons.pixels[:120, :150])]
    sizes, changes, paid = np.zeros(2), [], []
    for image in pictures:
        files = [encode(image, codec, codec.setting(75), chosen).data for chosen in (Blur(), None)]
        sizes += [len(data) for data in files]
        with_blur, without = (psnr(image.pixels, decode(data).pixels) for data in files)
        changes.append(with_blur - without)
        ladder = [encode(image, codec, codec.setting(quality)).data for quality in validator.qualities]
        scores = [psnr(image.pixels, decode(data).pixels) for data in ladder]
        slope = np.polyfit(scores, np.log([len(data) for data in ladder]), 1)[0]
        paid.append(np.log(len(files[0]) / len(files[1])) - slope * changes[-1])
    assert found["size_change_percent"] == pytest.approx(100 * (sizes[0] / sizes[1] - 1), abs=1e-3)
    assert found["psnr_change"] == pytest.approx(np.mean(changes), abs=1e-3)
    assert found["size_at_equal_psnr_percent"] == pytest.approx(100 * (np.exp(np.mean(paid)) - 1), abs=2e-3)
    size, change, equal = (found[name] for name in ("size_change_percent", "psnr_change", size_at_equal("psnr")))
    assert size is not None and change is not None and equal is not None
    assert size < 0 > change and equal > size


@pytest.mark.parametrize(
    ("codec", "quality", "expected"),
    [("jpeg", 75, (45, 60, 75, 87)), ("webp", 10, (0, 10, 22)), ("hevc", 28, (43, 36, 28, 22))],
)
def test_qualities_lie_around_the_one(codec: str, quality: int, expected: tuple[int, ...]) -> None:
    assert CodecValidator(codec, quality, ["psnr"], []).qualities == expected


def test_the_middle_of_large_pictures_is_taken(monkeypatch: pytest.MonkeyPatch, lake: Image) -> None:
    monkeypatch.setattr(validation, "SIDE", 64)
    small = CodecValidator("jpeg", 75, ["psnr"], [lake.pixels[100:164, 200:264]])
    whole = CodecValidator("jpeg", 75, ["psnr"], [lake.pixels[:264, :464]])
    assert small(Blur()) == whole(Blur())


def test_sizes_are_weighed_by_the_objective() -> None:
    found = {"size_at_equal_psnr_percent": -4.0, "size_at_equal_vif_percent": 8.0, "psnr_change": 1.0}
    assert weighted_size(found, {"psnr": 0.75, "vif": 0.25}) == -1


def test_of_a_metric_that_falls_as_pictures_get_better_a_rise_is_paid_for(lake: Image) -> None:
    found = CodecValidator("jpeg", 75, ["butteraugli"], [lake.pixels[:96, :96]])(Blur())
    size, change, equal = (
        found[name] for name in ("size_change_percent", "butteraugli_change", size_at_equal("butteraugli"))
    )
    assert size is not None and change is not None and equal is not None
    assert size < 0 < change and equal > size


def test_a_score_that_falls_with_the_rate_is_not_paid_for() -> None:
    rates = np.log([1.0, 2.0])
    assert least_squares_slope([9.0, 8.0], rates) == 0
    assert least_squares_slope([-9.0, -8.0], rates) == pytest.approx(np.log(2))
    assert least_squares_slope([9.0], rates[:1]) == 0
