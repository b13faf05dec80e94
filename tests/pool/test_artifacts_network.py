"""Artifact removal: the network, how it is run over pictures, and the weights that ship."""

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import psnr
from PIL import Image as Pil
from tiny_weights import artifact_removal
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kcompress.errors import WeightsError
from kcompress.images import Image, Pixels
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine, TorchEngine, cuda_devices
from kcompress.inference.models import shipped_engine
from kcompress.inference.tiling import batch, tiled
from kcompress.pool import artifacts, filter_named
from kcompress.pool.artifacts import HALO, remove_artifacts
from kcompress.pool.artifacts_network import ArtifactRemoval

pytestmark = pytest.mark.usefixtures("one_thread")
Shipped = Callable[[Path], None]
trained = pytest.mark.skipif(not weight_files.is_shipped("ar"), reason="the weights ar are not trained yet")


def compressed(pixels: Pixels, quality: int) -> Pixels:
    data = io.BytesIO()
    Pil.fromarray(pixels).save(data, "JPEG", quality=quality)
    return np.asarray(Pil.open(data))


def test_starts_as_the_identity() -> None:
    image = torch.rand(2, 3, 24, 40)
    assert torch.equal(ArtifactRemoval(4)(image), image)


def test_a_residual_is_added() -> None:
    network, seen = artifact_removal(), []
    network.leave.register_forward_hook(lambda module, inputs, output: seen.append(output))
    image = torch.rand(1, 3, 16, 24)
    result = network(image)
    assert torch.equal(result, image + nn.functional.pixel_shuffle(seen[0], 2))
    assert not torch.equal(result, image)


def test_the_halo_covers_the_receptive_field() -> None:
    """Gradients of one output pixel reach no further than the halo that tiles are given."""
    network = ArtifactRemoval(2).double().eval()
    for layer in network.modules():  # all paths open: ReLU off, weights positive
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)
    reach = 0
    for phase in range(8):  # the reach depends on where a pixel lies in the coarsest grid
        image = 0.5 + 0.5 * torch.rand(1, 3, 192, 192, dtype=torch.float64)
        image.requires_grad_()
        place = 96 + phase
        (gradient,) = torch.autograd.grad(network(image)[0, :, place, place].sum(), image)
        rows = gradient[0].abs().sum(dim=(0, 2)).nonzero().flatten()
        reach = max(reach, place - int(rows.min()), int(rows.max()) - place)
    assert reach == 67, "the docstring of HALO says so"
    assert reach <= HALO < reach + 8 and HALO % 8 == 0


def test_the_cost_that_its_docstring_tells() -> None:
    with FlopCounterMode(display=False) as counter:
        ArtifactRemoval()(torch.rand(1, 3, 64, 128))
    per_pixel = counter.get_total_flops() / (64 * 128)
    told = re.search(r"takes (\d+) kFLOP a pixel, (\d+) GFLOP for 1920x1080", ArtifactRemoval.__doc__ or "")
    assert told and per_pixel == pytest.approx(1e3 * int(told[1]), rel=0.01)
    assert per_pixel * 1920 * 1080 == pytest.approx(1e9 * int(told[2]), rel=0.01)


@pytest.mark.parametrize("width", [0, -1])
def test_a_network_without_width_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {width}"):
        ArtifactRemoval(width)


def test_onnx_runtime_equals_torch(tiny_weights: Path, lake: Image) -> None:
    pixels = batch(lake.pixels[:200, :120])
    onnx = OnnxEngine(tiny_weights / "ar.onnx")(pixels)
    for device in ("cpu", *(["cuda:0"] if cuda_devices() else [])):
        assert np.abs(TorchEngine(artifact_removal(), device)(pixels) - onnx).max() < 1e-4
    assert np.abs(onnx - pixels).max() > 0.05


def test_tiled_equals_whole(tiny_weights: Path, shipped: Shipped, lake: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped(tiny_weights)
    whole = remove_artifacts(lake.pixels)
    for side in (64, 200):
        monkeypatch.setattr(artifacts, "tiled", functools.partial(tiled, whole_pixels=0, tile_side=side))
        assert np.abs(remove_artifacts(lake.pixels).astype(int) - whole).max() <= 1
    assert np.abs(whole.astype(int) - lake.pixels).max() > 10


def test_the_result_is_the_network_s_rounded_and_clipped(tiny_weights: Path, shipped: Shipped, lake: Image) -> None:
    shipped(tiny_weights)
    pixels = lake.pixels[:64, :80]
    with torch.inference_mode():
        raw = artifact_removal()(torch.from_numpy(batch(pixels)))[0].permute(1, 2, 0).numpy() * 255
    assert raw.min() < -1 or raw.max() > 256
    assert np.abs(remove_artifacts(pixels) - np.clip(raw, 0, 255)).max() < 0.51


@settings(deadline=None, max_examples=15, derandomize=True)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size(tiny_weights: Path, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "shipped_engine", lambda *_: OnnxEngine(tiny_weights / "ar.onnx", threads=1))
        result = remove_artifacts(pixels)
    assert result.shape == pixels.shape and result.dtype == np.uint8


def test_the_engine_is_kept(tiny_weights: Path, shipped: Shipped, lake: Image) -> None:
    shipped(tiny_weights)
    first, second = (filter_named("ar").apply(lake.pixels[:32, :32]) for _ in range(2))
    assert np.array_equal(first, second)
    assert shipped_engine.cache_info()[:2] == (1, 1)


def test_without_its_weights(shipped: Shipped, tmp_path: Path) -> None:
    shipped(tmp_path)
    assert not filter_named("ar").kind.available()
    with pytest.raises(WeightsError, match=r"the weights ar did not come along: .* has none\. Reinstall kcompress\."):
        filter_named("ar").apply(np.zeros((8, 8, 3), np.uint8))


def test_weights_of_another_network_under_its_name(tiny_weights: Path, shipped: Shipped, tmp_path: Path) -> None:
    (tmp_path / "ar.safetensors").write_bytes((tiny_weights / "vqscore.safetensors").read_bytes())
    shipped(tmp_path)
    with pytest.raises(WeightsError, match="are vqscore weights; ar was asked for"):
        remove_artifacts(np.zeros((8, 8, 3), np.uint8))


@trained
@pytest.mark.parametrize(("quality", "gain"), [(20, 0.3), (90, -0.02)])
def test_the_shipped_weights_restore_a_photograph(lake: Image, quality: int, gain: float) -> None:
    worse = compressed(lake.pixels, quality)
    assert psnr(remove_artifacts(worse), lake.pixels) - psnr(worse, lake.pixels) > gain


@trained
def test_the_shipped_graph_equals_the_shipped_tensors(lake: Image) -> None:
    weights = weight_files.open_shipped("ar")
    module = ArtifactRemoval(**weights.arguments)
    module.load_state_dict(weights.tensors())
    pixels = batch(compressed(lake.pixels[:200, :200], 30))
    assert np.abs(OnnxEngine(weights.onnx)(pixels) - TorchEngine(module, "cpu")(pixels)).max() < 1 / 255
