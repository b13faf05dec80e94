"""VMAF: what is sent to libvmaf, and that a score comes back."""

import numpy as np
import pytest
from metrics.degraded import jpeg
from PIL import Image as Pil
from PIL import ImageFilter

from kcompress import programs
from kcompress.errors import ProgramError
from kcompress.metrics import METRICS, vmaf


@pytest.mark.parametrize(
    ("colour", "level"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 63), ((0, 255, 0), 173), ((0, 0, 255), 32)],
)
def test_luma_of_the_corners(colour, level):
    # BT.709, table 3: 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B).
    assert (vmaf.luma(np.full((2, 3, 3), colour, np.uint8)) == level).all()


def test_luma_is_rounded_once(lake):
    exact = 16 + 219 * (lake.pixels @ np.array([0.2126, 0.7152, 0.0722])) / 255
    assert np.abs(vmaf.luma(lake.pixels) - exact).max() < 0.505


def test_colour_does_not_count():
    grey = np.random.default_rng(0).integers(60, 190, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
    assert vmaf.luma(grey).std() > 10
    score = vmaf.prepare(grey, "vmaf_v0.6.1")
    assert score(np.clip(grey + np.array([0, 0, 0]), 0, 255).astype(np.uint8)) >= vmaf.MAXIMUM


def test_sharpening_gains_nothing_with_neg(photo):
    blurred = np.asarray(Pil.fromarray(photo).filter(ImageFilter.GaussianBlur(1)))
    sharpened = np.asarray(Pil.fromarray(blurred).filter(ImageFilter.UnsharpMask(1, 120, 0)))
    gains = {name: METRICS[name].score(blurred, sharpened) for name in ("vmaf", "vmaf-neg")}
    assert gains["vmaf"] > gains["vmaf-neg"]


def test_a_folder_with_an_awkward_name(photo, tmp_path, monkeypatch):
    odd = tmp_path / "it's a, [b]; c:d"
    odd.mkdir()
    distorted = jpeg(photo, 50)
    expected = METRICS["vmaf"].score(photo, distorted)
    monkeypatch.setattr(programs.tempfile, "tempdir", str(odd))
    assert METRICS["vmaf"].score(photo, distorted) == expected


def test_no_score(photo, monkeypatch):
    monkeypatch.setattr(programs.Program, "run", lambda *_: b"")
    with pytest.raises(ProgramError, match="imageio-ffmpeg"):
        vmaf.prepare(photo, "vmaf_v0.6.1")(photo)
