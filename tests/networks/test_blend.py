"""The network that mixes a bank of filters for each pixel, and the bank."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_weights import blend_network

from kcompress.blockdct import strips_shrunk, thresholds
from kcompress.codecs import CODECS
from kcompress.errors import WeightsError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.inference.engine import OnnxEngine, TorchEngine
from kcompress.networks import NETWORKS
from kcompress.networks.blend import CHOICES, Blend
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.filter_bank import FILTERS, HEIGHTS, FilterBank
from kcompress.networks.loading import load, serving, wrapped
from kcompress.networks.mosaic import PIECE, SIDE, mosaic
from kcompress.networks.preprocessor import NetworkPreprocessor
from kcompress.pool import filter_named
from kcompress.training.distortions import compression, noise, through

JPEG = CODECS["jpeg"]
HALF = torch.full((1, 1), 0.5)
KNOWN = TrainingDomain("blend", "jpeg", (30, 92), (0.08, 0.7))


@pytest.fixture(scope="module")
def network() -> Blend:
    return blend_network()


@pytest.fixture(scope="module")
def picture(lake: Image) -> torch.Tensor:
    return tensor([lake.pixels[:64, :96]])


@pytest.fixture(scope="module")
def whole(lake: Image) -> torch.Tensor:
    return torch.from_numpy(mosaic(lake.pixels))


def certain(choice: int) -> Blend:
    """A network that is sure of one choice everywhere."""
    module = Blend(4)
    with torch.no_grad():
        module.leave.bias[choice] = 1e4
    return module.eval()


def test_shares_add_up_to_one_and_differ_from_place_to_place(network, picture, whole) -> None:
    shares = network.shares(network.features(picture), network.features(whole), HALF)
    assert shares.shape == (1, len(CHOICES), 8, 12) and shares.min() >= 0
    assert torch.allclose(shares.sum(1), torch.ones(1, 8, 12)) and shares.std((2, 3)).max() > 0.01


def test_to_choose_nothing_leaves_every_bit(picture, whole) -> None:
    assert CHOICES[0] == {}
    assert torch.equal(certain(0)(picture, whole, HALF), picture)


@pytest.mark.parametrize("choice", range(1, len(CHOICES)))
def test_a_choice_is_a_filter_with_its_strength(picture, whole, choice) -> None:
    changes = dict(zip(FILTERS, FilterBank()(picture, HALF), strict=True))
    ((name, strength),) = CHOICES[choice].items()
    expected = picture + strength * changes[name]
    assert torch.allclose(certain(choice)(picture, whole, HALF), expected, atol=1e-6)
    assert changes[name].abs().max() > 1 / 255


def test_every_filter_can_be_chosen_and_none_twice() -> None:
    assert {name for choice in CHOICES for name in choice} == set(FILTERS)
    assert len({repr(choice) for choice in CHOICES}) == len(CHOICES)


def test_setting_and_whole_picture_change_the_result(network, picture, whole) -> None:
    usual = network(picture, whole, HALF)
    assert not torch.allclose(network(picture, whole, HALF / 4), usual, atol=1e-3)
    assert not torch.allclose(network(picture, whole.clamp(0.4, 0.6), HALF), usual, atol=1e-4)


@pytest.mark.parametrize("name", ["blur:s=0.5", "chroma:s=2"])
def test_the_bank_does_as_the_pool(lake, picture, name) -> None:
    """But for rounding, where a Gaussian ends, and the edge."""
    changed = (picture + dict(zip(FILTERS, FilterBank()(picture, HALF), strict=True))[name])[0].permute(1, 2, 0)
    expected = filter_named(name).apply(lake.pixels[:64, :96])
    assert np.abs(255 * changed.numpy() - expected)[8:-8, 8:-8].max() < 1.5


@pytest.mark.parametrize(
    ("name", "radius", "height"), [("guided:s=2:h=12", 2, 12), ("guided:s=4:h=6", 4, 6), ("guided:s=8:h=6", 8, 6)]
)
def test_guided_is_the_guided_filter_where_there_is_no_colour(lake, name, radius, height) -> None:
    """Equations 5, 6 and 8 of He, Sun and Tang, by OpenCV's means."""
    grey = lake.pixels[:96, :96, 1]
    values = grey / 255.0

    def mean(plane):
        return cv2.blur(plane, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE)

    variance = mean(values**2) - mean(values) ** 2
    slope = variance / (variance + (height / 255) ** 2)
    expected = mean(slope) * values + mean(mean(values) - slope * mean(values))
    image = tensor([np.repeat(grey[..., None], 3, axis=2)])
    found = (image + dict(zip(FILTERS, FilterBank()(image, HALF), strict=True))[name])[0].numpy()
    reach = 2 * radius
    assert np.abs(found - expected)[:, reach:-reach, reach:-reach].max() < 1e-4
    assert np.abs(found[0] - found[2]).max() < 1e-6


@pytest.mark.parametrize("first", ["guided:s=2:h=6", "guided:s=4:h=12"])
def test_a_series_shrinks_what_is_smoothed(picture, first) -> None:
    bank = FilterBank()
    changes = dict(zip(FILTERS, bank(picture, HALF), strict=True))
    smoothed = picture + changes[first]
    expected = smoothed + dict(zip(FILTERS, bank(smoothed, HALF), strict=True))["shrink:t=12c"]
    assert torch.allclose(picture + changes[f"{first}+shrink:t=12c"], expected, atol=1e-6)


@pytest.mark.parametrize("height", HEIGHTS)
def test_shrink_is_a_soft_threshold_in_proportion_to_coarseness(lake, picture, height) -> None:
    change = dict(zip(FILTERS, FilterBank()(picture, HALF), strict=True))[f"shrink:t={height:g}c"]
    pixels = np.ascontiguousarray(lake.pixels[:64, :96])
    (strip,) = [values for _, values in strips_shrunk(pixels, thresholds(height / 2))]
    assert np.abs(255 * change[0].permute(1, 2, 0).numpy() - (strip - pixels)).max() < 0.01


def test_halo_covers_the_receptive_field() -> None:
    module = blend_network().double()
    for layer in (module.enter, module.look):  # all paths open: ReLU off
        torch.nn.init.uniform_(layer.weight, 0.01, 0.1)
        torch.nn.init.constant_(layer.bias, 9.0)
    reach = 0
    for phase in range(8):
        image = torch.rand(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
        place = 64 + phase
        changed = module(image, torch.rand(1, 3, 64, 64).double(), HALF.double())
        (gradient,) = torch.autograd.grad(changed[0, :, place, place].sum(), image)
        rows = gradient[0].abs().sum(dim=(0, 2)).nonzero().flatten()
        reach = max(reach, place - int(rows.min()), int(rows.max()) - place)
    assert NETWORKS["blend"].halo - NETWORKS["blend"].multiple < reach <= NETWORKS["blend"].halo


@pytest.fixture(scope="module")
def written(tmp_path_factory, network) -> Path:
    """Weights as they ship."""
    metadata = {
        "network": "blend", "arguments": '{"width": 8}', "codec": "jpeg", "recipe": json.dumps(KNOWN.to_recipe()),
    }  # fmt: skip
    stem = tmp_path_factory.mktemp("blend") / "blend-jpeg"
    inputs = (torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 1))
    return weight_files.write(stem, network, metadata, {}, 8, inputs).path


@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_the_graph_says_what_torch_says(written, network, lake) -> None:
    preprocessor = load("blend", device="cpu", weights=written, codec="jpeg")
    assert preprocessor is not None and preprocessor.conditioned
    for quality in (40, 85):
        setting = JPEG.setting(quality)
        one, other = (
            each(lake, setting) for each in (preprocessor, wrapped("blend", TorchEngine(network, "cpu"), KNOWN))
        )
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1 and one.notes == ()
        assert np.abs(one.pixels.astype(int) - lake.pixels).max() > 2


def test_tiles_are_invisible(written, lake) -> None:
    """Each tile is told what the whole picture is like."""
    kind, engine = NETWORKS["blend"], OnnxEngine(written.with_suffix(".onnx"), 1)
    results = [
        NetworkPreprocessor(
            "blend", engine, network="blend", strength=1, halo=kind.halo, multiple=kind.multiple, overview=mosaic,
            condition=lambda setting: np.full((1, 1), 0.5, np.float32), **options,
        )(lake, JPEG.setting()).pixels
        for options in ({}, {"whole_pixels": 0, "tile_side": 64}, {"whole_pixels": 0, "tile_side": 200})
    ]  # fmt: skip
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


@pytest.mark.parametrize(("codec", "note"), [("jpeg", None), ("webp", "trained for jpeg 30..92, not for webp")])
def test_it_says_what_it_was_trained_for(written, lake, codec, note) -> None:
    preprocessor = load("blend", device="cpu", weights=written, codec=codec)
    assert preprocessor is not None
    for height, width in ((1, 1), (9, 200), (70, 65)):
        image = Image(np.ascontiguousarray(lake.pixels[:height, :width]))
        result = preprocessor(image, CODECS[codec].setting(70))
        assert result.pixels.shape == image.pixels.shape
        assert result.notes == () if note is None else note in result.notes[0]


def test_a_graph_of_fewer_inputs_is_refused(written, network, lake, tmp_path) -> None:
    engine = OnnxEngine(written.with_suffix(".onnx"), 1)
    with pytest.raises(WeightsError, match="takes 3 inputs, not 2"):
        engine(np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 300), (64, 64), (200, 333), (600, 900)])
def test_a_mosaic_is_made_of_pieces_from_all_over(height, width) -> None:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows % 251, columns % 241, rows // 251 + 10 * (columns // 241)], axis=2).astype(np.uint8)
    found = np.rint(255 * mosaic(pixels)[0].transpose(1, 2, 0)).astype(int)
    assert found.shape == (SIDE, SIDE, 3)
    top, left = (found[..., 0] + 251 * (found[..., 2] % 10), found[..., 1] + 241 * (found[..., 2] // 10))
    corners = [(top[y, x], left[y, x]) for y in range(0, SIDE, PIECE) for x in range(0, SIDE, PIECE)]
    assert all(number % 8 == 0 for corner in corners for number in corner)
    assert corners[0] == (0, 0)
    assert len(set(corners)) == (4 if height > PIECE + 24 else 1) * (4 if width > PIECE + 24 else 1)
    assert top.max() > height - 8 - 1 and left.max() > width - 8 - 1


@pytest.mark.parametrize("name", ["lake", "balloons"])
def test_the_weights_that_ship_take_noise_away_where_there_is_some(request: pytest.FixtureRequest, name: str) -> None:
    shipped = load("blend", device="cpu", codec="jpeg")
    assert shipped is not None and shipped.name == "blend-jpeg"
    clean = request.getfixturevalue(name)
    published = clean.with_pixels(through(clean.pixels, [noise(8, 0.6, seed=0), compression("jpeg", 90)]))
    made = [shipped(image, JPEG.setting(75)).pixels.astype(float) for image in (clean, published)]

    def far(one, other) -> float:
        return float(np.abs(one.astype(float) - other).mean())

    assert 0 < far(clean.pixels, made[0]) < 0.8 * far(published.pixels, made[1])
    assert far(clean.pixels, made[1]) < 0.92 * far(clean.pixels, published.pixels)


def test_auto_leaves_it_out() -> None:
    assert all("blend" not in serving(codec) for codec in CODECS)
