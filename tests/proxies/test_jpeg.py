"""JPEG in torch: pictures as by the real decoder, bits nearly as by the real encoder, gradients as documented."""

import io
from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
from pictures import in_grey
from PIL import Image as Pil
from PIL import features
from torch import Tensor
from torch.nn import functional as F

from kcompress.codecs import CODECS, decode
from kcompress.images import Image, Pixels
from kcompress.inference.batches import tensor
from kcompress.proxies.jpeg import (
    TEMPERATURE,
    Coefficients,
    DifferentiableJpeg,
    Rounding,
    bits_per_pixel,
    quantiser_steps,
    soft_round,
    standard_quantiser_steps,
)
from kcompress.setting import Chroma

pytestmark = pytest.mark.usefixtures("one_thread")

JPEG = CODECS["jpeg"]
CHROMAS: tuple[Chroma, ...] = ("420", "444")
ROUNDINGS: tuple[Rounding, ...] = ("straight", "soft")
QUALITIES = (5, 12, 24, 25, 37, 50, 63, 75, 88, 90, 95, 98)
ODD_SIZES = [(1, 1), (2, 4), (3, 5), (5, 3), (4, 16), (8, 8), (9, 31), (17, 33), (33, 18), (32, 48), (1, 70), (70, 1)]


def file(image: Image, quality: int, chroma: Chroma = "420", *, progressive: bool = False) -> bytes:
    return JPEG.backend("pillow").encode(image, JPEG.setting(quality, chroma, effort=int(progressive)))


def proxied(pixels: Pixels, quality: int, chroma: Chroma = "420") -> Pixels:
    with torch.no_grad():
        return back(DifferentiableJpeg(standard_quantiser_steps([quality]), chroma)(tensor([pixels]))[0])


def back(batch: Tensor) -> Pixels:
    """(1, 3, H, W), 0..1 -> (H, W, 3)."""
    grey_levels = batch[0].permute(1, 2, 0).double() * 255
    assert torch.allclose(grey_levels, grey_levels.round(), atol=1e-4), "8 bits"
    return np.asarray(grey_levels.round().to(torch.uint8).numpy())


def distance(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other).max())


def noise(height: int, width: int, kind: Literal["uniform", "extreme"] = "uniform") -> Image:
    random = np.random.default_rng(height * 1000 + width)
    values = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image(values if kind == "uniform" else np.where(values > 127, 255, 0).astype(np.uint8))


def scan_bits(jpeg: bytes) -> int:
    """Of the entropy-coded data of all scans: what lies between a scan's header and the next marker."""
    count, place = 0, 2
    while jpeg[place + 1] != 0xD9:
        is_scan = jpeg[place + 1] == 0xDA
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if is_scan:
            end = place
            while jpeg[end] != 0xFF or jpeg[end + 1] == 0:
                end += 1
            count, place = count + end - place, end
    return 8 * count


@pytest.fixture(scope="module")
def photo(lake: Image) -> Tensor:
    """(1, 3, 64, 96), 0.15..0.85: compressed, no colour is clipped."""
    return tensor([lake.pixels[150:214, 200:296]]) * 0.7 + 0.15


@pytest.mark.parametrize("chroma", CHROMAS)
def test_photographs_decode_as_by_pillow(chroma: Chroma, lake: Image, balloons: Image) -> None:
    crop = Image(np.ascontiguousarray(lake.pixels[100:228, 200:360]))
    for image, quality in product((crop, balloons), QUALITIES):
        assert distance(proxied(image.pixels, quality, chroma), decode(file(image, quality, chroma)).pixels) <= 1


@pytest.mark.parametrize("chroma", CHROMAS)
@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
def test_noise_of_odd_sizes_decodes_as_by_pillow(size: tuple[int, int], chroma: Chroma) -> None:
    for image, quality in product((noise(*size), noise(*size, "extreme")), QUALITIES[::2]):
        assert distance(proxied(image.pixels, quality, chroma), decode(file(image, quality, chroma)).pixels) <= 1


@pytest.mark.skipif(not features.check_feature("libjpeg_turbo"), reason="another libjpeg has another arithmetic")
@pytest.mark.parametrize("chroma", CHROMAS)
def test_no_pixel_differs_from_libjpeg_turbos(chroma: Chroma, balloons: Image) -> None:
    for image, quality in product((balloons, noise(33, 19), noise(33, 19, "extreme")), (1, 30, 75, 92, 100)):
        assert distance(proxied(image.pixels, quality, chroma), decode(file(image, quality, chroma)).pixels) == 0


def test_grey_pictures_decode_as_by_pillow(balloons: Image) -> None:
    """Pillow writes them with one plane; here they have two more, of zeros."""
    image = in_grey(balloons)
    for quality in (10, 50, 90):
        assert distance(proxied(image.pixels, quality), decode(file(image, quality)).pixels) <= 1
    jpeg = DifferentiableJpeg(standard_quantiser_steps([50]))
    assert not jpeg.quantise(jpeg.coefficients(tensor([image.pixels]))).chroma.any()


def test_tables_may_be_given(balloons: Image) -> None:
    random = np.random.default_rng(3)
    luma, chroma = (tuple(int(step) for step in random.integers(1, 90, 64)) for _ in range(2))
    output = io.BytesIO()
    Pil.fromarray(balloons.pixels).save(output, "JPEG", qtables=[luma, chroma], subsampling="4:2:0")
    jpeg = DifferentiableJpeg(quantiser_steps([(luma, chroma)]))
    ours = back(jpeg(tensor([balloons.pixels]))[0])
    assert distance(ours, decode(output.getvalue()).pixels) <= 1
    setting = JPEG.setting(37)
    assert setting.tables is not None and torch.equal(quantiser_steps([setting.tables]), standard_quantiser_steps([37]))


def test_every_picture_of_a_batch_has_its_own_quality(lake: Image) -> None:
    crops = [lake.pixels[top : top + 41, 100:150] for top in (0, 100, 200)]
    qualities = torch.tensor([20, 60, 95])
    pictures, bits = DifferentiableJpeg(standard_quantiser_steps(qualities))(tensor(crops))
    assert pictures.shape == (3, 3, 41, 50) and pictures.dtype == torch.float32 and bits.shape == (3,)
    for number, quality in enumerate(qualities.tolist()):
        alone = DifferentiableJpeg(standard_quantiser_steps([quality]))
        picture, rate = alone(tensor(crops[number : number + 1]))
        assert torch.equal(picture[0], pictures[number]) and torch.allclose(rate[0], bits[number])
    same = DifferentiableJpeg(standard_quantiser_steps([60]))(tensor(crops))[0]
    assert torch.equal(same[1], pictures[1]) and not torch.equal(same[0], pictures[0])


@pytest.mark.parametrize("chroma", CHROMAS)
def test_coefficients_are_those_of_the_orthonormal_dct_in_steps(chroma: Chroma, photo: Tensor) -> None:
    table = standard_quantiser_steps([60])
    blocks = DifferentiableJpeg(table, chroma).coefficients(photo)
    side = 2 if chroma == "420" else 1
    assert blocks.luma.shape == (1, 1, 8, 12, 8, 8) and (blocks.height, blocks.width) == (64, 96)
    assert blocks.chroma.shape == (1, 2, 8 // side, 12 // side, 8, 8)
    ycc = in_ycc(photo * 255)
    x = torch.arange(8)
    basis = torch.cos((2 * x + 1) * x[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    for planes, found, table_of in (
        (ycc[:, :1] - 128, blocks.luma, table[0, 0]),
        (F.avg_pool2d(ycc[:, 1:], side), blocks.chroma, table[0, 1]),
    ):
        cut = planes.unfold(2, 8, 8).unfold(3, 8, 8)
        assert ((basis @ cut @ basis.T) - found * table_of).abs().max() < 4, "of rounded samples"
        assert ((basis @ cut @ basis.T) - found * table_of).abs().mean() < 0.5


def in_ycc(rgb: Tensor) -> Tensor:
    """BT.601, chroma around 0."""
    red, green, blue = rgb.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, (blue - luma) / 1.772, (red - luma) / 1.402], dim=1)


def in_rgb(ycc: Tensor) -> Tensor:
    luma, cb, cr = ycc.unbind(1)
    return torch.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], dim=1)


def test_levels_are_the_nearest_with_halves_away_from_zero() -> None:
    values = torch.tensor([0.0, 0.49, 0.5, 1.5, 2.51, -0.49, -0.5, -1.5, -7.2]).reshape(1, 1, 1, 1, 1, 9)
    for rounding in ROUNDINGS:
        levels = DifferentiableJpeg(standard_quantiser_steps([50]), rounding=rounding).quantise(
            Coefficients(values, values, 8, 8)
        )
        assert levels.luma.flatten().tolist() == [0, 0, 1, 2, 3, 0, -1, -2, -7]


def test_pictures_between_grey_levels_are_rounded_to_them(photo: Tensor) -> None:
    whole = (photo * 255).round() / 255
    beside = whole + (torch.rand(photo.shape, generator=torch.Generator().manual_seed(1)) - 0.5) * 0.98 / 255
    jpeg = DifferentiableJpeg(standard_quantiser_steps([90]))
    assert torch.equal(jpeg(whole)[0], jpeg(beside)[0])
    assert torch.equal(jpeg(whole * 3 - 1)[0], jpeg((whole * 3 - 1).clamp(0, 1))[0])


def test_values_are_exact_in_mixed_precision(photo: Tensor) -> None:
    jpeg = DifferentiableJpeg(standard_quantiser_steps([70]))
    with torch.autocast("cpu", torch.bfloat16):
        picture, bits = jpeg(photo)
    assert torch.equal(picture, jpeg(photo)[0]) and torch.allclose(bits, jpeg(photo)[1])


@pytest.mark.parametrize("chroma", CHROMAS)
def test_straight_gradients_are_those_of_the_codec_without_rounding(chroma: Chroma, photo: Tensor) -> None:
    weights = torch.rand(photo.shape, generator=torch.Generator().manual_seed(2))

    def unrounded(rgb: Tensor) -> Tensor:
        ycc = in_ycc(rgb)
        if chroma == "444":
            return in_rgb(ycc)
        colours = F.interpolate(F.avg_pool2d(ycc[:, 1:], 2), scale_factor=2, mode="bilinear")
        return in_rgb(torch.cat([ycc[:, :1], colours], dim=1))

    image = photo.clone().requires_grad_()
    picture = DifferentiableJpeg(standard_quantiser_steps([80]), chroma, "straight")(image)[0]
    assert picture.min() > 0 and picture.max() < 1, "nothing is clipped"
    (found,) = torch.autograd.grad((picture.sin() * weights).sum(), image)
    outer = picture.detach().cos() * weights
    (expected,) = torch.autograd.grad((unrounded(image) * outer).sum(), image)
    assert torch.allclose(found, expected, atol=2e-3)


def test_soft_gradients_are_large_only_where_levels_change() -> None:
    place = torch.linspace(-2, 2, 4001, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(soft_round(place).sum(), place)
    far = (place - place.round()).abs().detach()
    assert slope[far > 0.49].min() > 2.3
    assert slope[far < 0.2].max() < 0.5 and slope[far < 0.04].max() < 0.1 and slope.min() > 0
    assert slope.max().item() == pytest.approx(1 / (4 * TEMPERATURE * np.tanh(1 / (4 * TEMPERATURE))), rel=1e-3)
    assert slope.mean().item() == pytest.approx(1, rel=1e-3), "a step per step"
    whole = torch.arange(-3.0, 4)
    assert torch.allclose(soft_round(whole), whole, atol=1e-6)


def test_the_rounding_changes_gradients_and_no_values(photo: Tensor) -> None:
    image = photo.clone().requires_grad_()
    straight, soft = (DifferentiableJpeg(standard_quantiser_steps([50]), rounding=rounding) for rounding in ROUNDINGS)
    coefficients = straight.coefficients(image)
    for one, other in zip(straight(image), soft(image), strict=True):
        assert torch.equal(one, other)
    (found,) = torch.autograd.grad(straight.quantise(coefficients).luma.sum(), coefficients.luma, retain_graph=True)
    assert torch.equal(found, torch.ones_like(found))
    (found,) = torch.autograd.grad(soft.quantise(coefficients).luma.sum(), coefficients.luma)
    far = (coefficients.luma - coefficients.luma.round()).abs()
    assert found[far > 0.45].min() > 10 * found[far < 0.1].max()


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("chroma", CHROMAS)
def test_gradients_are_finite(chroma: Chroma, rounding: Rounding, photo: Tensor) -> None:
    jpeg = DifferentiableJpeg(standard_quantiser_steps([3, 50, 98]), chroma, rounding)
    flat = torch.full_like(photo, 0.5)
    batch = torch.cat([photo, flat, noise_batch(photo)])[:, :, :51, :67].requires_grad_()
    for which in range(2):
        (found,) = torch.autograd.grad(jpeg(batch)[which].square().sum(), batch)
        assert found.isfinite().all() and found.any()


def noise_batch(like: Tensor) -> Tensor:
    """Black and white in every channel, and beyond."""
    return torch.rand(like.shape, generator=torch.Generator().manual_seed(3)).round() * 1.2 - 0.1


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("chroma", CHROMAS)
def test_bits_are_nearly_those_of_real_files(
    chroma: Chroma, lake: Image, balloons: Image, *, progressive: bool
) -> None:
    ratios, ours, real = [], [], []
    crop = Image(np.ascontiguousarray(lake.pixels[:200, :300]))
    for image, quality in product((crop, balloons, in_colours(balloons)), (10, 25, 40, 60, 75, 85, 95)):
        with torch.no_grad():
            jpeg = DifferentiableJpeg(standard_quantiser_steps([quality]), chroma, progressive=progressive)
            ours.append(float(jpeg.rate(jpeg.coefficients(tensor([image.pixels])))))
        real.append(scan_bits(file(image, quality, chroma, progressive=progressive)) / (image.width * image.height))
        ratios.append(ours[-1] / real[-1])
    assert min(ratios) > 0.9 and max(ratios) < 1.1
    assert np.std(ratios) < 0.04
    assert np.corrcoef(np.log(ours), np.log(real))[0, 1] > 0.999


def in_colours(image: Image) -> Image:
    """Mirrored, channels in another order: more colour than in photographs."""
    return Image(np.ascontiguousarray(image.pixels[:, ::-1, [2, 0, 1]]))


def one_block(levels: dict[int, float], zeros: int = 0) -> Coefficients:
    """Luma levels by their index in row order, 8x8 pixels; chroma is zero, after more such blocks of luma."""
    luma = torch.zeros(1, 1, 1, 1 + zeros, 64)
    for index, level in levels.items():
        luma[..., -1, index] = level
    return Coefficients(luma.reshape(1, 1, 1, -1, 8, 8), torch.zeros(1, 2, 1, 1, 8, 8), 8, 8)


def cost(levels: dict[int, float], *, progressive: bool = False) -> float:
    """Bits beyond those of a block of zeros."""
    empty, block = (bits_per_pixel(one_block(each), progressive=progressive) for each in ({}, levels))
    return float(block - empty) * 64


@pytest.mark.parametrize(
    ("progressive", "block", "end", "dc", "nonzero", "run", "magnitude"),
    [(False, 2.45, 1.44, 1.98, 2.53, 2.26, 1.89), (True, 2.24, 2.60, 2.64, 2.14, 2.40, 1.76)],
)
def test_bits_follow_the_formula(
    *, progressive: bool, block: float, end: float, dc: float, nonzero: float, run: float, magnitude: float
) -> None:
    def bits(levels: dict[int, float]) -> float:
        return cost(levels, progressive=progressive)

    assert float(bits_per_pixel(one_block({}), progressive=progressive) * 64) == pytest.approx(3 * block)
    assert bits({0: 7}) == pytest.approx(dc * 3)
    assert bits({1: 1}) == bits({1: -1}) == pytest.approx(end + nonzero)
    assert bits({1: 4}) == pytest.approx(end + nonzero + 2 * magnitude)
    assert bits({8: 1}) == pytest.approx(end + nonzero + run), "second in zigzag order"
    assert bits({16: 1, 1: 1}) == pytest.approx(end + 2 * nonzero + run), "the zeros after the last one are free"
    assert bits({63: 1}) == pytest.approx(end + nonzero + 3 * run), "62 zeros are no worse than 7"
    after_another = one_block({0: 5}, zeros=1)
    after_another.luma[..., 0, 0, 0] = 4
    before = bits_per_pixel(one_block({}, zeros=1), progressive=progressive)
    found = float(bits_per_pixel(after_another, progressive=progressive) - before) * 64
    assert found == pytest.approx(dc * (np.log2(5) + 1)), "the difference to the block before"


def test_between_levels_bits_are_the_expectation() -> None:
    at_random = 0.7 * 0.4 * cost({1: 1, 16: 3}) + 0.3 * 0.4 * cost({16: 3})
    at_random += 0.7 * 0.6 * cost({1: 1, 16: 2}) + 0.3 * 0.6 * cost({16: 2})
    assert cost({1: 0.7, 16: 2.4}) == pytest.approx(at_random, rel=1e-5)


@pytest.mark.parametrize("index", [1, 2, 10, 40])
@pytest.mark.parametrize("coefficient", [0.3, 0.45, 0.55, 1.2, -0.45, -2.6])
def test_the_gradient_is_the_change_if_that_level_alone_changes(index: int, coefficient: float) -> None:
    others = {3: 1.0, 9: -2.0, 24: 1.0}
    coefficients = one_block(others | {index: coefficient})
    coefficients.luma.requires_grad_()
    below = np.sign(coefficient) * np.floor(abs(coefficient))
    change = cost(others | {index: below + np.sign(coefficient)}) - cost(others | {index: below})
    for rounding in ROUNDINGS:
        rate = DifferentiableJpeg(standard_quantiser_steps([50]), rounding=rounding).rate(coefficients)
        (found,) = torch.autograd.grad(rate * 64, coefficients.luma)
        place = torch.tensor(coefficient, dtype=torch.float64).requires_grad_()
        (slope,) = torch.autograd.grad(soft_round(place), place) if rounding == "soft" else (1,)
        assert found.flatten()[index].item() == pytest.approx(np.sign(coefficient) * change * float(slope), rel=1e-4)


def test_decisions_about_levels_get_the_bits_they_save() -> None:
    """What is drawn gives the value, the probability the gradient, and the other levels are those that were drawn."""
    fall = torch.tensor(0.3, requires_grad=True)
    drawn, expected = one_block({1: 1, 16: 1}), one_block({1: 2, 16: 1})
    first = one_block({1: 1}).luma
    bits = bits_per_pixel(drawn, Coefficients(expected.luma - fall * first, expected.chroma, 8, 8)) * 64
    assert bits.item() == pytest.approx(3 * 2.45 + cost({1: 1, 16: 1}), rel=1e-5)
    (found,) = torch.autograd.grad(bits, fall)
    assert found.item() == pytest.approx(cost({1: 1, 16: 1}) - cost({1: 2, 16: 1}), rel=1e-4)
