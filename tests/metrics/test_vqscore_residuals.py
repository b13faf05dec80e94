"""Shares of residuals, by which VQscore tells filters apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.metrics.vqscore_network import VQscoreNetwork
from kcompress.metrics.vqscore_residuals import CHANNELS, ENERGIES, RATIOS, SIZES, shares
from kcompress.pool import filter_named

pytestmark = pytest.mark.usefixtures("one_thread")

KERNELS = 9
"""Second differences of three channels along rows, columns and both."""

SIGNS = slice(KERNELS * len(SIZES), KERNELS * (len(SIZES) + 3))
COARSE = slice(SIGNS.stop, SIGNS.stop + KERNELS * len(SIZES))


def picture(image: Image, height: int = 96, width: int = 128) -> torch.Tensor:
    return tensor([np.ascontiguousarray(image.pixels[:height, :width])])


def line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 at -0.5 to 1 at 0.5."""
    return np.asarray(np.clip(values + 0.5, 0, 1))


def means(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side).mean(axis=(1, 3))


def expected(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The same by NumPy and SciPy, for the whole of a picture (H, W, 3)."""
    ycbcr = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    channels = [plane for plane in np.moveaxis(pixels.astype(np.float64) @ ycbcr.T, 2, 0)]
    sizes, signs, energies = [], [], []
    for scale in (1, 2, 4):
        residuals = []
        for plane in channels:
            rows, columns = (correlate1d(plane, [-1, 2, -1], axis=axis, mode="nearest") for axis in (1, 0))
            residuals += [rows, columns, correlate1d(rows, [-1, 2, -1], axis=0, mode="nearest")]
        energies.append([np.log(means(each**2, 8 // scale) + 0.05) for each in residuals[2::3]])
        logs = [np.log(np.abs(each[::2, ::2]) + 0.05) for each in residuals]
        sizes.append([line((np.log(size) - each) / 0.5).mean() for size in SIZES for each in logs])
        if scale == 1:
            clipped = [np.pad(np.clip(each / 2, -1, 1), ((0, 1), (0, 2))) for each in residuals]
            height, width = residuals[0].shape
            for down, right in ((0, 1), (1, 0), (0, 2)):
                for each in clipped:
                    product = each[:height, :width] * each[down : down + height, right : right + width]
                    signs.append(((1 + product[::2, ::2]) / 2).mean())
        channels = [means(plane, 2) for plane in channels]
    falls = [
        (np.clip(1 - np.abs(coarse - energy) / 2, 0, 1) * line((ratio - (fine - coarse)) / 0.8)).mean()
        for finer, coarser in pairwise(energies)
        for energy in ENERGIES
        for ratio in RATIOS
        for fine, coarse in zip(finer, coarser, strict=True)
    ]
    return np.array([*sizes[0], *signs, *sizes[1], *falls])


def test_they_equal_those_by_numpy(lake: Image) -> None:
    found = shares(picture(lake)).mean(dim=1)[0].numpy()
    assert found.shape == (CHANNELS,)
    assert np.abs(found - expected(lake.pixels[:96, :128])).max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_every_square_has_its_shares(height: int, width: int) -> None:
    found = shares(torch.rand(2, 3, height, width))
    assert found.shape == (2, height * width // 1024, CHANNELS)
    assert found.min() >= 0 and found.max() <= 1


def test_squares_are_their_own_away_from_their_edges() -> None:
    image = torch.rand(1, 3, 32, 96, generator=torch.Generator().manual_seed(0))
    other = image.clone()
    other[..., 72:] = 0.5  # eight pixels into the last square, further than differences see
    same = (shares(image) == shares(other)).all(dim=2)[0]
    assert same.tolist() == [True, True, False]


def test_of_a_flat_picture_every_residual_is_small() -> None:
    found = shares(torch.full((1, 3, 32, 64), 0.4))[0]
    assert (found[:, : SIGNS.start] == 1).all() and (found[:, COARSE] == 1).all()
    assert (found[:, SIGNS] == 0.5).all()


def test_residuals_of_a_blurred_picture_are_smaller_and_more_alike(lake: Image) -> None:
    before = shares(picture(lake)).mean(dim=1)[0]
    after = shares(picture(Image(filter_named("blur:s=0.9").apply(lake.pixels)))).mean(dim=1)[0]
    assert (after[: SIGNS.start] >= before[: SIGNS.start]).all()
    along_rows, along_columns = SIGNS.start, SIGNS.start + KERNELS + 1
    assert after[along_rows] > before[along_rows] + 0.02 and after[along_columns] > before[along_columns] + 0.02


def test_mixed_precision_does_not_round_them(lake: Image) -> None:
    image = picture(lake)
    plain = shares(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(shares(image), plain)


def test_they_change_the_score_and_none_are_needed() -> None:
    torch.manual_seed(0)
    network = VQscoreNetwork(tokens=16, heads=2, layers=1, residuals=8).eval()
    without = VQscoreNetwork(tokens=16, heads=2, layers=1).eval()
    without.load_state_dict({
        name: value for name, value in network.state_dict().items() if name in without.state_dict()
    })  # fmt: skip
    image = torch.rand(1, 3, 64, 64)
    assert network.residuals is not None
    with torch.inference_mode():
        assert network(image).item() != without(image).item()
        torch.nn.init.zeros_(network.residuals[2].weight)
        torch.nn.init.zeros_(network.residuals[2].bias)
        assert network(image).item() == pytest.approx(without(image).item(), abs=1e-4)
