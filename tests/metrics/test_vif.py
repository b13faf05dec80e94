"""VIF: against libvmaf's own figures, and its limits."""

import json

import numpy as np
import pytest
import torch
from metrics.degraded import jpeg, noisy

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Image, Pixels
from kcompress.inference.batches import tensor
from kcompress.metrics import vmaf
from kcompress.metrics.vif import Reference, prepare, vif
from kcompress.programs import ffmpeg, scratch_folder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photo(lake: Image) -> Pixels:
    return np.ascontiguousarray(lake.pixels[100:260, 100:300])


def features(original: Pixels, distorted: Pixels) -> list[float]:
    """VIF of the four scales by libvmaf, gains limited to 1."""
    height, width = original.shape[:2]
    video = ["-f", "rawvideo", "-pixel_format", "yuv444p", "-video_size", f"{width}x{height}"]
    with scratch_folder() as folder:
        log, stored = folder / "log.json", folder / "original.yuv"
        stored.write_bytes(vmaf._frame(original))
        compare = f"libvmaf=model=version=vmaf_v0.6.1neg:log_fmt=json:log_path={vmaf._escaped(log)}"
        arguments = [*video, "-i", "-", *video, "-i", str(stored), "-filter_complex", compare, "-f", "null", "-"]
        ffmpeg().run(["-hide_banner", "-loglevel", "error", *arguments], vmaf._frame(distorted))
        pooled = json.loads(log.read_text())["pooled_metrics"]
    return [pooled[f"integer_vif_scale{scale}_egl_1"]["mean"] for scale in range(4)]


@pytest.mark.skipif(not vmaf.available(), reason="no libvmaf")
@pytest.mark.parametrize("kind", ["coarse", "fine", "noise", "contrast"])
def test_every_scale_is_libvmafs(photo: Pixels, kind: str) -> None:
    distorted = {
        "coarse": lambda: jpeg(photo, 30), "fine": lambda: jpeg(photo, 85), "noise": lambda: noisy(photo, 9),
        "contrast": lambda: np.clip(photo * 1.2 - 20, 0, 255).astype(np.uint8),
    }[kind]()  # fmt: skip
    # Both on the very luma that libvmaf is given.
    original, degraded = (
        torch.from_numpy(vmaf.luma(pixels)[None, None] / np.float32(255)) for pixels in (photo, distorted)
    )
    found = [float(score) for score in Reference(original).scales(degraded)]
    assert found == pytest.approx(features(photo, distorted), abs=0.004)


def test_more_contrast_gives_no_credit_and_less_costs(photo: Pixels) -> None:
    image = tensor([photo])
    stronger, weaker = ((image - 0.5) * gain + 0.5 for gain in (1.1, 0.9))
    assert 0.98 < float(vif(image, stronger)) <= 1.001
    assert float(vif(image, weaker)) < 0.97


def test_gradients_lead_to_the_original(photo: Pixels) -> None:
    image, distorted = tensor([photo]), tensor([jpeg(photo, 40)]).requires_grad_()
    before = vif(image, distorted)[0]
    (gradient,) = torch.autograd.grad(before, distorted)
    assert gradient.isfinite().all()
    assert float(vif(image, distorted.detach() + 1e-3 * gradient / gradient.std())) > before.item()


def test_a_batch_is_its_pictures(photo: Pixels) -> None:
    others = [jpeg(photo, 20), jpeg(photo, 90)]
    batch = vif(tensor([photo, photo]), tensor(others))
    assert batch.tolist() == pytest.approx([prepare(photo)(other) for other in others], abs=1e-5)
    assert float(vif(torch.full((1, 3, 64, 64), 0.5), torch.full((1, 3, 64, 64), 0.5))) == 1, "flat"


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="one size"):
        vif(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 65))
    with pytest.raises(UnsupportedError, match="48 pixels a side"):
        vif(torch.zeros(1, 3, 47, 64), torch.zeros(1, 3, 47, 64))
