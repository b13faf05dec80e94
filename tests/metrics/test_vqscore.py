"""VQscore: its windows, its network, and what the weights that ship say of photographs."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.degraded import jpeg
from PIL import Image as Pil
from tiny_weights import vqscore_network
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from kcompress.codecs import CODECS
from kcompress.errors import MissingProgramError, UnsupportedError, WeightsError
from kcompress.images import Image, Pixels
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.inference.engine import OnnxEngine, TorchEngine, cuda_devices
from kcompress.inference.tiling import batch
from kcompress.metrics import METRICS, Scorer
from kcompress.metrics.vqscore import groups, vqscore, windows
from kcompress.metrics.vqscore_blocks import origin
from kcompress.metrics.vqscore_network import VQscoreNetwork
from kcompress.networks.loading import load
from kcompress.pool import filter_named
from kcompress.training.distortions import filtering, preprocessing

pytestmark = pytest.mark.usefixtures("one_thread")
Shipped = Callable[[Path], None]
trained = pytest.mark.skipif(not weight_files.is_shipped("vqscore"), reason="the weights vqscore are not trained yet")


@cache
def photograph() -> Pixels:
    """The lake (400, 640, 3)."""
    path = Path(__file__).parents[1] / "images" / "lake.png"
    return np.asarray(Pil.open(path).convert("RGB"))


def places(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each window, read from pixels that know where they are."""
    y, x = np.mgrid[0:height, 0:width]
    known = np.dstack([y, x])
    return [
        (slice(window[0, 0, 0], window[-1, 0, 0] + 1), slice(window[0, 0, 1], window[0, -1, 1] + 1))
        for window in windows(known)  # type: ignore[arg-type]
    ]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(height=st.integers(64, 2000), width=st.integers(64, 2000))
def test_windows_are_of_one_size_and_cover_the_picture(height: int, width: int) -> None:
    found = places(height, width)
    (size,) = {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in found}
    assert all(side % 32 == 0 and 64 <= side <= 320 for side in size)
    assert all(rows.start % 8 == columns.start % 8 == 0 for rows, columns in found)
    seen = np.zeros((height, width), bool)
    for rows, columns in found:
        seen[rows, columns] = True
    for covered, length, side in zip((seen.any(axis=1), seen.any(axis=0)), (height, width), size, strict=True):
        rest = length - int(covered.sum())
        assert covered[: length - rest].all(), "nothing but the end may be missing"
        assert rest < (8 if length > 320 else 32)
        assert length > 320 or side == length // 32 * 32
    assert seen.sum() == seen.any(axis=1).sum() * seen.any(axis=0).sum()


def test_no_more_windows_than_needed_and_the_ends_are_among_them() -> None:
    assert places(320, 64) == [(slice(0, 320), slice(0, 64))]
    assert places(64, 321) == [(slice(0, 64), slice(0, 192)), (slice(0, 64), slice(128, 320))]
    assert len(places(1080, 1920)) == 4 * 6
    assert places(1080, 1920)[-1] == (slice(792, 1080), slice(1600, 1920))


@settings(deadline=None, max_examples=20, derandomize=True)
@given(top=st.integers(0, 15), left=st.integers(0, 15), quality=st.integers(10, 75))
def test_windows_begin_where_the_blocks_of_a_cropped_jpeg_do(top: int, left: int, quality: int) -> None:
    whole = jpeg(photograph(), quality)
    cropped = whole[top:, left:]
    assert origin(cropped) == (-top % 8, -left % 8)
    first = next(windows(cropped))
    assert np.array_equal(first, cropped[-top % 8 :, -left % 8 :][: first.shape[0], : first.shape[1]])


def test_without_blocks_windows_begin_at_the_corner() -> None:
    pixels = photograph()
    random = np.random.default_rng(0)
    noisy = np.clip(pixels + random.normal(0, 5, pixels.shape), 0, 255).astype(np.uint8)
    for other in (pixels, noisy, filter_named("blur:s=0.9").apply(pixels), np.full_like(pixels, 128)):
        assert all(origin(other[shift:, shift:]) == (0, 0) for shift in range(0, 8, 3))


@pytest.mark.parametrize("side", range(64, 90))
def test_blocks_of_small_pictures_leave_enough(side: int) -> None:
    small = np.ascontiguousarray(jpeg(photograph(), 10)[3 : 3 + side, 1 : 1 + side])
    top, left = origin(small)
    assert side - max(top, left) >= 64 and (top, left) in ((0, 0), (5, 7))
    assert all(min(window.shape[:2]) >= 64 for window in windows(small))


def test_windows_are_seen_together(tiny_weights: Path, shipped: Shipped, lake: Image) -> None:
    shipped(tiny_weights)
    seen = list(windows(lake.pixels))
    assert len(seen) == 4
    with torch.inference_mode():
        expected = vqscore_network()(tensor(seen)).item()
    assert vqscore(lake.pixels) == pytest.approx(expected, abs=1e-3)
    assert expected != pytest.approx(np.mean([vqscore(window) for window in seen]), abs=1e-4)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(count=st.integers(1, 500), height=st.sampled_from(range(64, 321, 32)), width=st.sampled_from(range(64, 321, 32)))
def test_groups_hold_all_windows_from_all_over_the_picture(count: int, height: int, width: int) -> None:
    found = groups(range(count), (height, width))
    assert sorted(window for group in found for window in group) == [*range(count)]
    tokens = height * width // 32**2
    assert all(len(group) * tokens <= 2048 for group in found)
    assert len(found) == 1 or (len(found) - 1) * (2048 // tokens) < count, "no more than needed"
    sizes = [len(group) for group in found]
    assert max(sizes) - min(sizes) <= 1
    assert all(group[0] < len(found) and group[-1] >= count - len(found) for group in found)


def test_a_large_picture_is_the_mean_of_its_groups(
    tiny_weights: Path, shipped: Shipped, lake: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped(tiny_weights)
    monkeypatch.setattr("kcompress.metrics.vqscore._TOGETHER", 150)
    pixels = np.tile(lake.pixels, (1, 2, 1))  # 8 windows of 200x320 pixels, 60 tokens each: two in a group
    seen = list(windows(pixels))
    parts = groups(seen, seen[0].shape[:2])
    assert [len(part) for part in parts] == [2, 2, 2, 2]
    with torch.inference_mode():
        each = [vqscore_network()(tensor(part)).item() for part in parts]
    assert vqscore(pixels) == pytest.approx(np.mean(each), abs=1e-3) and max(each) - min(each) > 1e-2
    pixels = pixels[:, : 640 + 320]
    seen = list(windows(pixels))
    parts = groups(seen, seen[0].shape[:2])
    with torch.inference_mode():
        each = [vqscore_network()(tensor(part)).item() for part in parts]
    sizes = [len(part) for part in parts]
    assert vqscore(pixels) == pytest.approx(np.average(each, weights=sizes), abs=1e-3)


def test_the_same_bits_twice_and_by_every_way(tiny_weights: Path, shipped: Shipped, photo: Pixels) -> None:
    shipped(tiny_weights)
    first = vqscore(photo)
    assert isinstance(first, float) and 0 <= first <= 100
    metric = METRICS["vqscore"]
    assert first == vqscore(photo.copy()) == metric.score(255 - photo, photo)  # whatever the original
    assert first == Scorer(photo, ["psnr", "vqscore"])(photo)["vqscore"]
    assert metric.score(photo, 255 - photo) != first
    mirrored = photo[:, ::-1]
    assert vqscore(mirrored) == vqscore(mirrored.copy())


@pytest.mark.parametrize(("height", "width"), [(63, 200), (200, 63), (1, 1)])
def test_a_picture_that_is_too_small(
    tiny_weights: Path, shipped: Shipped, lake: Image, height: int, width: int
) -> None:
    shipped(tiny_weights)
    pixels = lake.pixels[:height, :width]
    with pytest.raises(UnsupportedError, match=f"vqscore needs 64 pixels a side; the picture has {width}x{height}"):
        METRICS["vqscore"].score(pixels, pixels)


def test_the_smallest_picture(tiny_weights: Path, shipped: Shipped, lake: Image) -> None:
    shipped(tiny_weights)
    assert 0 <= METRICS["vqscore"].score(lake.pixels[:64, :64], lake.pixels[:64, :64]) <= 100


def test_without_its_weights(shipped: Shipped, tmp_path: Path, photo: Pixels) -> None:
    shipped(tmp_path)
    with pytest.raises(WeightsError, match=r"the weights vqscore did not come along: .* Reinstall kcompress\."):
        vqscore(photo)
    assert not METRICS["vqscore"].available()
    with pytest.raises(MissingProgramError, match=r"vqscore is not installed\. Its weights did not come along"):
        METRICS["vqscore"].scorer(photo)


def test_onnx_runtime_equals_torch(tiny_weights: Path, lake: Image) -> None:
    engine = OnnxEngine(tiny_weights / "vqscore.onnx")
    for count, height, width in ((1, 64, 64), (2, 96, 320), (3, 320, 224)):
        pixels = np.concatenate([batch(lake.pixels[7 * n :, 100 * n :][:height, :width]) for n in range(count)])
        onnx = engine(pixels)
        assert onnx.shape == (1, 1)
        for device in ("cpu", *(["cuda:0"] if cuda_devices() else [])):
            assert np.abs(TorchEngine(vqscore_network(), device)(pixels) - onnx).max() < 1e-3


def test_the_network_does_not_care_where_in_the_window_things_are() -> None:
    """Tokens have no positions: halves that swap their places change nothing but what lies at their seam."""
    network = vqscore_network()
    left, right = torch.rand(2, 1, 3, 128, 128)
    flat = torch.full((1, 3, 128, 64), 0.5)  # wider than the backbone reaches
    one, other = (
        torch.cat([flat, first, flat, flat, second, flat], dim=3) for first, second in ((left, right), (right, left))
    )
    with torch.inference_mode():
        assert network(one).item() == pytest.approx(network(other).item(), abs=1e-3)
        assert network(one).item() != pytest.approx(network(left).item(), abs=1e-3)


def test_any_network_scores_in_range() -> None:
    network = vqscore_network()
    for bias in (-50.0, 50.0):
        torch.nn.init.constant_(network.head[1].bias, bias)
        with torch.inference_mode():
            scores = network.score(network.look(torch.rand(3, 3, 64, 96)))
        assert scores.shape == (3, 1) and scores.min() >= 0 and scores.max() <= 100


def test_faint_traces_are_differences_from_the_means_around() -> None:
    image = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    network = vqscore_network()
    network.levels[0].register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    with torch.inference_mode():
        network(image)
    assert torch.equal(seen[0][:, :3], image - 0.5)
    for channel, size in ((3, 3), (6, 9)):
        around = F.avg_pool2d(image, size, 1, size // 2, count_include_pad=False)
        difference = 255 * (image - around)
        expected = torch.sign(difference) * torch.log(1 + difference.abs())
        assert torch.allclose(seen[0][:, channel : channel + 3], expected, atol=1e-3)


@pytest.mark.parametrize(("content", "place"), [(0, 0), (96, 1)])
def test_the_cost_that_its_docstring_tells(content: int, place: int) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        VQscoreNetwork(content=content).eval()(torch.rand(1, 3, 224, 224))
    per_pixel = counter.get_total_flops() / 224**2
    told = re.findall(r"Cost: (\d+) kFLOP a pixel, (\d+) with the trunk", VQscoreNetwork.__doc__ or "")[0]
    assert per_pixel == pytest.approx(1000 * int(told[place]), rel=0.05)


@trained
def test_the_score_falls_with_the_quality_of_a_jpeg(lake: Image) -> None:
    scores = [vqscore(jpeg(lake.pixels, quality)) for quality in (95, 75, 50, 30, 10)]
    assert scores == sorted(set(scores), reverse=True)
    assert 0 <= scores[-1] < scores[0] - 20 and scores[0] <= 100
    assert vqscore(lake.pixels) > scores[1]


@pytest.fixture(params=["lake", "balloons"])
def untouched(request: pytest.FixtureRequest) -> Pixels:
    """Photographs that it was not trained on."""
    pixels: Pixels = request.getfixturevalue(request.param).pixels
    return pixels


@trained
def test_an_untouched_picture_scores_more_than_its_jpeg(untouched: Pixels) -> None:
    score = vqscore(untouched)
    assert all(score > vqscore(jpeg(untouched, quality)) for quality in (75, 90))


@trained
def test_softening_does_not_please_it(lake: Image, balloons: Image) -> None:
    """At most 6 points more than SSIMULACRA2 says on average, which sees the original."""
    above = []
    for pixels in (lake.pixels, balloons.pixels):
        soft = [filter_named(f"blur:s={sigma}").apply(pixels) for sigma in (0.6, 0.9, 1.2)]
        scores = [vqscore(pixels), *map(vqscore, soft)]
        assert scores == sorted(scores, reverse=True)
        judge = METRICS["ssimulacra2"].scorer(pixels)
        above.append([score - judge(blurred) for score, blurred in zip(scores[1:], soft, strict=True)])
    assert np.mean(above, axis=0).max() < 6


@trained
def test_the_network_that_was_taught_to_please_it_does_so_less(untouched: Pixels) -> None:
    """The score's first weights gave its output up to 23 points more than SSIMULACRA2 does."""
    judge = METRICS["ssimulacra2"].scorer(untouched)
    for codec in ("jpeg", "webp", "hevc"):
        changed = load("kuchen", device="cpu", codec=codec, strength=1)
        assert changed is not None
        pixels = changed(Image(untouched), CODECS[codec].setting()).pixels
        assert vqscore(pixels) < judge(pixels) + 18


@trained
def test_what_deceived_it_most_deceives_it_less(lake: Image) -> None:
    """Former weights gave these 20 and 24 points more than SSIMULACRA2 does."""
    judge = METRICS["ssimulacra2"].scorer(lake.pixels)
    for step, most in ((filtering("blur:s=1.2"), 8), (preprocessing("kuchen", "jpeg", 75), 10)):
        pixels = step.apply(lake.pixels)
        assert vqscore(pixels) - judge(pixels) < most


@trained
@pytest.mark.parametrize(("down", "right"), [(1, 1), (3, 0), (5, 6)])
def test_a_shift_changes_little(untouched: Pixels, down: int, right: int) -> None:
    """At most 3 points by one pixel. A JPEG's blocks are found, so that the same is seen of them."""
    height, width = untouched.shape[:2]
    soft = filter_named("blur:s=0.9").apply(untouched)
    most = 3 if max(down, right) == 1 else 4  # more of what is at the edges leaves the picture
    for pixels, bound in ((untouched, most), (soft, 3), (jpeg(untouched, 75), 3)):
        here, there = pixels[: height - down, : width - right], pixels[down:, right:]
        assert abs(vqscore(here) - vqscore(there)) < bound


@trained
def test_the_shipped_weights_give_the_same_bits_for_the_same_picture(lake: Image) -> None:
    worse = jpeg(lake.pixels, 40)
    assert len({vqscore(worse) for _ in range(3)}) == 1


@trained
def test_the_shipped_graph_equals_the_shipped_tensors(lake: Image) -> None:
    weights = weight_files.open_shipped("vqscore")
    module = VQscoreNetwork(**weights.arguments)
    module.load_state_dict(weights.tensors())
    pixels = np.concatenate([batch(part) for part in windows(jpeg(lake.pixels, 30))])
    assert np.abs(OnnxEngine(weights.onnx)(pixels) - TorchEngine(module, "cpu")(pixels)).max() < 0.01


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch, lake: Image, value: float) -> None:
    monkeypatch.setattr("kcompress.metrics.vqscore.shipped_engine", lambda *_: lambda batch: np.array([[value]]))
    with pytest.raises(WeightsError, match=f"give {value} in place of a score"):
        vqscore(lake.pixels)
