"""Differentiable JPEG: libjpeg's reconstruction, bit-exact, and a model of its rate.

Every value is the one that libjpeg-turbo computes in fixed-point arithmetic (slow integer DCT, fancy upsampling): at
every quality, size and sampling that was tried, each pixel equals Pillow's. All roundings but the quantiser's are
straight-through; for the quantiser's there is a choice.

Not modelled: overflow of 16 bits and levels beyond the Huffman codes, which do not happen at qualities in use, and
trellis quantisation (mozjpeg), which does not round to the nearest level.

Sources: ITU-T T.81 (JPEG) and T.871 (JFIF: colours); libjpeg's files are named where its arithmetic is followed.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.codecs.quantisation import STANDARD
from kcompress.inference.constants import constant
from kcompress.networks.jpeg_rate import LONGEST_RUN, PROGRESSIVE, SEQUENTIAL, ZIGZAG, RateModel
from kcompress.proxies.straight_through import straight_through
from kcompress.setting import Chroma, Table

Rounding = Literal["straight", "soft"]
"""Derivative of the quantiser's rounding: 1 everywhere, or that of `soft_round`, large only where levels change."""

TEMPERATURE = 0.1
"""Width of the risers of `soft_round`, in quantiser steps."""

# jccolor.c, rgb_ycc_start, and jdcolor.c, build_ycc_rgb_table: 16 fractional bits. All arithmetic here is on numbers
# that double precision holds exactly.
_TO_YCC = torch.tensor([[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]]).double() / 2**16
_TO_YCC_OFFSET = torch.tensor([2**15, 2**23 + 2**15 - 1, 2**23 + 2**15 - 1]).double()[:, None, None] / 2**16
_CR_IN_RED, _CR_IN_GREEN = 91881 / 2**16, -46802 / 2**16
_CB_IN_BLUE, _CB_IN_GREEN = 116130 / 2**16, -22554 / 2**16

# sqrt(8) times the orthonormal DCT, 13 fractional bits: rows are frequencies, left half (the right one mirrors it).
# What a pass of jfdctint.c, jpeg_fdct_islow, computes before it rounds is exactly the product with this matrix, and of
# jidctint.c, jpeg_idct_islow, with its transpose. Entries are sums of constants that are rounded there one by one.
_DCT_LEFT = [
    [8192, 8192, 8192, 8192],
    [11363, 9633, 6437, 2260],
    [10703, 4433, -4433, -10703],
    [9633, -2259, -11362, -6436],
    [8192, -8192, -8192, 8192],
    [6437, -11362, 2261, 9633],
    [4433, -10704, 10704, -4433],
    [2260, -6436, 9633, -11363],
]
_DCT_RIGHT = [[(-1) ** u * entry for entry in reversed(row)] for u, row in enumerate(_DCT_LEFT)]
_DCT = torch.cat([torch.tensor(_DCT_LEFT), torch.tensor(_DCT_RIGHT)], dim=1).double() / 2**13


@dataclass(frozen=True)
class Coefficients:
    """DCT coefficients of N pictures in quantiser steps: unrounded, or rounded to levels.

    Attributes:
        luma: (N, 1, ceil(H / 8), ceil(W / 8), 8, 8): rows and columns of blocks, vertical and horizontal frequency.
        chroma: (N, 2, ...), Cb and Cr, likewise; in 4:2:0 a block spans 16x16 pixels.
        height: H of the pictures, pixels.
        width: W.
    """

    luma: Tensor
    chroma: Tensor
    height: int
    width: int

    def map(self, function: Callable[[Tensor], Tensor]) -> "Coefficients":
        """Coefficients whose luma and chroma are functions of these."""
        return Coefficients(function(self.luma), function(self.chroma), self.height, self.width)


def unpack_levels(packed: Tensor, size: Sequence[int]) -> Coefficients:
    """Coefficients of packed levels (N, 384, H / 16, W / 16), see `networks.mcu`, of pictures of a size (H, W)."""
    count = packed.shape[0]
    parts = ((F.pixel_shuffle(packed[:, :256], 2), 1), (packed[:, 256:], 2))
    luma, chroma = (
        part.reshape(count, channels, 8, 8, *part.shape[-2:]).permute(0, 1, 4, 5, 2, 3) for part, channels in parts
    )
    return Coefficients(luma, chroma, int(size[0]), int(size[1]))


def pack_levels(levels: Coefficients) -> Tensor:
    """Inverse of `unpack_levels`, of levels or unrounded coefficients; H and W are multiples of 16."""
    luma, chroma = (each.permute(0, 1, 4, 5, 2, 3).flatten(1, 3) for each in (levels.luma, levels.chroma))
    return torch.cat([F.pixel_unshuffle(luma, 2), chroma], dim=1)


def quantiser_steps(tables: Iterable[tuple[Table, Table]]) -> Tensor:
    """Quantiser steps (N, 2, 8, 8) of tables for luma and chroma as in `Setting.tables`, one pair a picture."""
    return torch.tensor(list(tables), dtype=torch.float32).reshape(-1, 2, 8, 8)


def standard_quantiser_steps(qualities: Iterable[int] | Tensor) -> Tensor:
    """Quantiser steps (N, 2, 8, 8) of libjpeg's qualities 1..100, one a picture."""
    return quantiser_steps(STANDARD.at(int(quality)) for quality in qualities)


@dataclass(frozen=True)
class DifferentiableJpeg:
    """JPEG at given settings; h = ceil(H / 8), w = ceil(W / 8), chroma's planes half as wide and high in 4:2:0.

        RGB (N, 3, H, W) -> 8 bits -> YCbCr (N, 3, H, W) -> downsampled chroma (N, 2, H / 2, W / 2)
          -> blocks (N, 1, h, w, 8, 8), (N, 2, h / 2, w / 2, 8, 8) -> DCT -> / steps -> `coefficients`
          -> rounding: `quantise` -> levels, same shapes -> `rate` (N,)
          -> * steps -> inverse DCT -> clamp -> planes -> upsampled chroma -> RGB (N, 3, H, W): `reconstruct`

    Attributes:
        steps: quantiser steps (N, 2, 8, 8), of luma and of chroma, row order; N = 1 for all pictures alike.
        chroma: sampling of the colour planes.
        rounding: gradient of the quantiser.
        progressive: progressive coding instead of sequential; changes the rate alone.
    """

    steps: Tensor
    chroma: Chroma = "420"
    rounding: Rounding = "soft"
    progressive: bool = False

    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction (N, 3, H, W), 0..1, of pictures (N, 3, H, W), 0..1, and bits per pixel (N,)."""
        coefficients = self.coefficients(rgb)
        return self.reconstruct(self.quantise(coefficients)), self.rate(coefficients)

    def coefficients(self, rgb: Tensor) -> Coefficients:
        """Coefficients in steps, unrounded, float32, of pictures (N, 3, H, W), 0..1, which are rounded to 8 bits."""
        luma, chroma = (_fdct(_in_blocks(plane) - 128) for plane in _planes(rgb, self.chroma))
        of_luma, of_chroma = self._steps(rgb.device)
        return Coefficients((luma / of_luma).float(), (chroma / of_chroma).float(), rgb.shape[-2], rgb.shape[-1])

    def quantise(self, coefficients: Coefficients) -> Coefficients:
        """Levels of coefficients."""
        return coefficients.map(lambda values: straight_through(_nearest(values), self._relaxed(values)))

    def rate(self, coefficients: Coefficients) -> Tensor:
        """Bits per pixel (N,) of the levels of these coefficients, see `bits_per_pixel`."""
        levels, relaxed = coefficients.map(_nearest), coefficients.map(self._relaxed)
        return bits_per_pixel(levels, relaxed, progressive=self.progressive)

    def reconstruct(self, levels: Coefficients) -> Tensor:
        """Reconstruction (N, 3, H, W) of levels, 8 bits as 0..1, float32."""
        height, width = levels.height, levels.width
        of_luma, of_chroma = self._steps(levels.luma.device)
        luma = _in_rows((_idct(levels.luma * of_luma) + 128).clamp(0, 255))
        chroma = _in_rows((_idct(levels.chroma * of_chroma) + 128).clamp(0, 255))
        if self.chroma == "420":
            chroma = _doubled(chroma[..., : (height + 1) // 2, : (width + 1) // 2])
        return _to_rgb(luma[..., :height, :width], chroma[..., :height, :width])

    def _steps(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Steps of luma and of chroma, (N, 1, 1, 1, 8, 8) each, double precision."""
        luma, chroma = self.steps.to(device, torch.float64)[:, :, None, None, None].unbind(1)
        return luma, chroma

    def _relaxed(self, coefficients: Tensor) -> Tensor:
        """Continuous relaxation of the levels, for gradients."""
        return soft_round(coefficients) if self.rounding == "soft" else coefficients


def soft_round(values: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Soft rounding: whole numbers stay, a logistic function leads from each to the next.

    The slope is 1 on average; at temperature T it is 1 / (4 T tanh(1 / 4T)) at the half-integers: 2.5 for T = 0.1.
    """
    whole = values.detach().floor()
    start, end = (1 / (1 + math.exp(-side / (2 * temperature))) for side in (-1, 1))
    return whole + (((values - whole - 0.5) / temperature).sigmoid() - start) / (end - start)


def bits_per_pixel(levels: Coefficients, relaxed: Coefficients | None = None, *, progressive: bool = False) -> Tensor:
    """Bits per pixel (N,) of a JPEG with optimised Huffman codes, by a model; without headers and tables.

    Sequential, and progressive as libjpeg scans by default:

    - A nonzero AC level: 2.53 (2.14) + 2.26 (2.40) log2(1 + zeros before it, at most 7) + 1.89 (1.76)
      log2 |level|; a code for run and category, then the category's bits (T.81, F.1.2.2).
    - A DC level: 1.98 (2.64) log2(1 + |difference to the block on its left|) (F.1.2.1).
    - A block: 2.45 (2.24) more, and 1.44 (2.60) for the end of its AC levels if it has any.

    Between whole levels it is the expectation over coefficients rounded up or down at random, independently. So the
    derivative at an AC level is the change of bits if that level alone moves to the neighbour on the relaxed side.

    Fitted to every other of 41 photographs (crops of 384x384, qualities 10..96, each also with levels decremented by
    several rules and networks). Against the scans of cjpeg's files of the rest: 4.8 (3.4) % root mean square,
    correlation of the logarithms 0.9994 (0.9996). Decrements save 0.98 .. 1.04 (0.94 .. 1.07) times what they save in
    the files (80 of 100). Headers and tables are 300 .. 900 bytes more.

    Args:
        levels: for the value.
        relaxed: for the gradient: less than a step away from the levels. By default the levels: whole ones then give
            the cost of an increment of the magnitude, and zeros, which have no sign, none.
        progressive: the figures in parentheses instead of the others.
    """
    relaxed = relaxed or levels
    model = PROGRESSIVE if progressive else SEQUENTIAL
    bits = _bits(levels.luma, relaxed.luma, model) + _bits(levels.chroma, relaxed.chroma, model)
    return bits / (levels.height * levels.width)


def _bits(levels: Tensor, relaxed: Tensor, model: RateModel) -> Tensor:
    """Bits (N,) of blocks (N, C, h, w, 8, 8), with the gradient towards ``relaxed``."""

    def expected(cost: Callable[[Tensor], Tensor], part: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            value = _interpolated(cost, part(levels))
        return straight_through(value, _interpolated(cost, part(relaxed)))

    nonzero = expected(lambda size: size.clamp(max=1), _ac)
    magnitude = expected(lambda size: size.clamp(min=1).log2(), _ac)
    difference = expected(lambda size: (size + 1).log2(), _dc_differences)
    return (
        model.a_block * (levels[0].numel() // 64)
        + model.a_block_with_ac * (1 - _joint(1 - nonzero)).flatten(1).sum(1)
        + model.dc_difference * difference.flatten(1).sum(1)
        + (model.ac_nonzero * nonzero + model.ac_magnitude * magnitude).flatten(1).sum(1)
        + model.ac_run * _runs(nonzero)
    )


def _joint(probabilities: Tensor) -> Tensor:
    """Product over the last axis; torch's own looks for zeros before its gradient, and so waits for a GPU."""
    product: Tensor = _Joint.apply(probabilities)  # type: ignore[no-untyped-call]
    return product


class _Joint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.prod(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        one = torch.ones_like(values[..., :1])
        before = torch.cat([one, values[..., :-1]], -1).cumprod(-1)
        after = torch.cat([one, values[..., 1:].flip(-1)], -1).cumprod(-1).flip(-1)
        return gradient[..., None] * before * after


def _runs(nonzero: Tensor) -> Tensor:
    """Sum (N,) of log2(1 + zeros before it) over nonzero levels; probabilities (N, C, h, w, 63) in zigzag order."""
    total = nonzero.new_zeros(nonzero.shape[0])
    zero, after = 1 - nonzero, nonzero  # not zero, and after at least `length` zeros
    for length in range(1, LONGEST_RUN + 1):
        after = after[..., 1:] * zero[..., :-length]
        total = total + math.log2((length + 1) / length) * after.flatten(1).sum(1)
    return total


_AC = ZIGZAG[1:]


def _ac(levels: Tensor) -> Tensor:
    """AC levels: (N, C, h, w, 8, 8) -> (N, C, h, w, 63) in zigzag order."""
    return levels.flatten(-2).index_select(-1, constant(_AC, levels))


def _dc_differences(levels: Tensor) -> Tensor:
    """DC differences to the block on the left, at the left edge to the one above: (N, C, h, w).

    Luma in 4:2:0 is coded by fours, which changes the sizes of the differences little.
    """
    dc = levels[..., 0, 0]
    before = F.pad(dc[:, :, :-1, :1], (0, 0, 1, 0))
    return dc - torch.cat([before, dc[..., :-1]], dim=-1)


def _interpolated(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Function of magnitudes, interpolated linearly between whole numbers."""
    size = values.abs()
    whole = size.detach().floor()
    start = function(whole)
    return start + (function(whole + 1) - start) * (size - whole)


def _nearest(values: Tensor) -> Tensor:
    """Nearest whole number, halves away from zero (jcdctmgr.c)."""
    return values.sign() * (values.abs() + 0.5).floor()


def _floored(values: Tensor) -> Tensor:
    return straight_through(values.floor(), values)


def _rounded(values: Tensor) -> Tensor:
    """Nearest whole number, halves up, as shifts do after half of the divisor was added."""
    return _floored(values + 0.5)


def _planes(rgb: Tensor, chroma: Chroma) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, ...) and chroma (N, 2, ...), whole 0..255, sides padded to whole blocks, of (N, 3, H, W), 0..1."""
    height, width = rgb.shape[-2:]
    pixels = _rounded(rgb.double().clamp(0, 1) * 255)
    ycc = torch.einsum("ij,njhw->nihw", constant(_TO_YCC, pixels), pixels)
    ycc = _floored(ycc + constant(_TO_YCC_OFFSET, pixels))
    luma, colours = ycc[:, :1], ycc[:, 1:]
    if chroma == "420":
        # To the right, columns are repeated before they are halved; below, rows after (jcsample.c, jcprepct.c).
        colours = _halved(_extended(colours, -width % 16, height % 2))
    return _in_whole_blocks(luma), _in_whole_blocks(colours)


def _in_whole_blocks(planes: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    return _extended(planes, -width % 8, -height % 8)


def _extended(planes: Tensor, right: int, below: int) -> Tensor:
    """Planes with the last column and row repeated."""
    return F.pad(planes, (0, right, 0, below), mode="replicate")


def _halved(planes: Tensor) -> Tensor:
    """Means of 2x2, halves rounded down and up in turn (jcsample.c, h2v2_downsample)."""
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    sums = rows[..., ::2] + rows[..., 1::2]
    bias = torch.tensor([1.0, 2.0]).repeat(sums.shape[-1] // 2).to(sums)
    return _floored((sums + bias) / 4)


def _in_blocks(planes: Tensor) -> Tensor:
    """Planes (N, C, H, W) -> blocks (N, C, H / 8, W / 8, 8, 8)."""
    count, channels, height, width = planes.shape
    return planes.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)


def _in_rows(blocks: Tensor) -> Tensor:
    """Blocks (N, C, h, w, 8, 8) -> planes (N, C, 8 h, 8 w)."""
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _fdct(blocks: Tensor) -> Tensor:
    """Orthonormal DCT, multiples of 1/8: rows with two fractional bits, then columns (jfdctint.c)."""
    dct = constant(_DCT, blocks)
    rows = _rounded(4 * _product(blocks, dct.T))
    return _rounded(_product(rows.mT, dct.T) / 4).mT / 8


def _idct(blocks: Tensor) -> Tensor:
    """Inverse DCT, whole numbers: columns with two fractional bits, then rows (jidctint.c)."""
    dct = constant(_DCT, blocks)
    columns = _rounded(4 * _product(blocks.mT, dct))
    return _rounded(_product(columns.mT, dct) / 32)


def _product(blocks: Tensor, matrix: Tensor) -> Tensor:
    """One large product instead of many small ones: (..., 8, 8) @ (8, 8)."""
    return (blocks.reshape(-1, 8) @ matrix).view(blocks.shape)


def _doubled(planes: Tensor) -> Tensor:
    """Planes twice as high and wide: 3/4 nearest sample, 1/4 next, each way (jdsample.c, h2v2_fancy_upsample)."""
    if planes.shape[-1] <= 2:  # jinit_upsampler finds these too narrow
        return planes.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    near, beside = 3 * planes, F.pad(planes, (0, 0, 1, 1), mode="replicate")
    rows = torch.stack([near + beside[..., :-2, :], near + beside[..., 2:, :]], dim=-2).flatten(-3, -2)
    near, beside = 3 * rows, F.pad(rows, (1, 1, 0, 0), mode="replicate")
    sums = torch.stack([near + beside[..., :-2] + 8, near + beside[..., 2:] + 7], dim=-1).flatten(-2)
    return _floored(sums / 16)


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """RGB (N, 3, H, W), 8 bits as 0..1, float32, of whole samples 0..255 (jdcolor.c, ycc_rgb_convert)."""
    cb, cr = chroma[:, :1] - 128, chroma[:, 1:] - 128
    red = luma + _rounded(_CR_IN_RED * cr)
    green = luma + _rounded(_CB_IN_GREEN * cb + _CR_IN_GREEN * cr)
    blue = luma + _rounded(_CB_IN_BLUE * cb)
    return (torch.cat([red, green, blue], dim=1).clamp(0, 255) / 255).float()
