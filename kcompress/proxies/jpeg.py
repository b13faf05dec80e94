"""libjpeg in torch: the pictures that it decodes, with gradients, and a model of the bits that it needs.

Every value is the one that libjpeg-turbo's encoder and decoder compute, in their fixed-point arithmetic (slow integer
DCT, fancy upsampling): at every quality, size and sampling that was tried, each pixel equals Pillow's. All roundings
but the quantiser's pass gradients straight through; for the quantiser's there is a choice.

Left out is what does not happen to pictures at qualities in use: overflow of 16 bits, levels beyond the range of the
Huffman codes. An encoder that searches for levels (mozjpeg's trellis) does not round to the nearest, as this one does.

Sources: ITU-T T.81 (JPEG) and T.871 (JFIF: colours); libjpeg's files are named where its arithmetic is followed.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.codecs.jpeg import quantisation_tables
from kcompress.networks.jpeg_rate import LONGEST_RUN, PROGRESSIVE, SEQUENTIAL, ZIGZAG, RateModel
from kcompress.setting import Chroma, Table

Rounding = Literal["straight", "soft"]
"""Derivative of the quantiser's rounding: 1 everywhere, or that of `softened`: large only where levels change."""

TEMPERATURE = 0.1
"""Width of the risers of the soft rounding, in steps."""

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
class Blocks:
    """The DCT coefficients of N pictures in units of their quantiser steps: unrounded, or rounded to levels.

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

    def map(self, function: Callable[[Tensor], Tensor]) -> "Blocks":
        """The function of luma and of chroma."""
        return Blocks(function(self.luma), function(self.chroma), self.height, self.width)


def unpacked(packed: Tensor, size: Sequence[int]) -> Blocks:
    """Levels as ``networks.macroblocks`` packs them, (N, 384, H / 16, W / 16), as the codec has them.

    Args:
        packed: luma's, then those of Cb and Cr in 4:2:0.
        size: H and W.
    """
    count = packed.shape[0]
    parts = ((F.pixel_shuffle(packed[:, :256], 2), 1), (packed[:, 256:], 2))
    luma, chroma = (
        part.reshape(count, channels, 8, 8, *part.shape[-2:]).permute(0, 1, 4, 5, 2, 3) for part, channels in parts
    )
    return Blocks(luma, chroma, int(size[0]), int(size[1]))


def steps(tables: Iterable[tuple[Table, Table]]) -> Tensor:
    """Quantiser steps (N, 2, 8, 8) of tables for luma and chroma as in ``Setting.tables``, one pair a picture."""
    return torch.tensor(list(tables), dtype=torch.float32).reshape(-1, 2, 8, 8)


def standard_steps(qualities: Iterable[int] | Tensor) -> Tensor:
    """Quantiser steps (N, 2, 8, 8) of libjpeg's qualities 1..100, one a picture."""
    return steps(quantisation_tables(int(quality)) for quality in qualities)


@dataclass(frozen=True)
class Jpeg:
    """The codec at given settings.

    Attributes:
        steps: quantiser steps (N, 2, 8, 8), of luma and of chroma, row order; N = 1 for all pictures alike.
        chroma: sampling of the colour planes.
        rounding: the quantiser's, for gradients only.
        progressive: how the levels are coded, which is a matter of bits alone.
    """

    steps: Tensor
    chroma: Chroma = "420"
    rounding: Rounding = "soft"
    progressive: bool = False

    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W), 0..1 -> what becomes of them, likewise, and bits per pixel (N,)."""
        coefficients = self.coefficients(rgb)
        return self.decoded(self.quantised(coefficients)), self.rate(coefficients)

    def coefficients(self, rgb: Tensor) -> Blocks:
        """Pictures (N, 3, H, W), 0..1, which are rounded to 8 bits -> coefficients in steps, unrounded, float32."""
        luma, chroma = (_fdct(_in_blocks(plane) - 128) for plane in _planes(rgb, self.chroma))
        of_luma, of_chroma = self._steps(rgb.device)
        return Blocks((luma / of_luma).float(), (chroma / of_chroma).float(), rgb.shape[-2], rgb.shape[-1])

    def quantised(self, coefficients: Blocks) -> Blocks:
        """Coefficients -> levels."""
        return coefficients.map(lambda values: _through(_nearest(values), self._path(values)))

    def rate(self, coefficients: Blocks) -> Tensor:
        """Bits per pixel (N,) of the levels of these coefficients, see `bits_per_pixel`."""
        levels, path = coefficients.map(_nearest), coefficients.map(self._path)
        return bits_per_pixel(levels, path, progressive=self.progressive)

    def decoded(self, levels: Blocks) -> Tensor:
        """Levels -> pictures (N, 3, H, W), 8 bits as 0..1, float32."""
        height, width = levels.height, levels.width
        of_luma, of_chroma = self._steps(levels.luma.device)
        luma = _in_rows((_idct(levels.luma * of_luma) + 128).clamp(0, 255))
        chroma = _in_rows((_idct(levels.chroma * of_chroma) + 128).clamp(0, 255))
        if self.chroma == "420":
            chroma = _doubled(chroma[..., : (height + 1) // 2, : (width + 1) // 2])
        return _to_rgb(luma[..., :height, :width], chroma[..., :height, :width])

    def _steps(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """To go with the blocks of luma and of chroma: each (N, 1, 1, 1, 8, 8), double precision."""
        luma, chroma = self.steps.to(device, torch.float64)[:, :, None, None, None].unbind(1)
        return luma, chroma

    def _path(self, coefficients: Tensor) -> Tensor:
        """What the gradients see in place of levels."""
        return softened(coefficients) if self.rounding == "soft" else coefficients


def softened(values: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Rounding with slopes for risers: the whole numbers stay, a logistic function leads from each to the next.

    The slope is 1 on average; at temperature T it is 1 / (4 T tanh(1 / 4T)) at the half-integers: 2.5 for T = 0.1.
    """
    whole = values.detach().floor()
    start, end = (1 / (1 + math.exp(-side / (2 * temperature))) for side in (-1, 1))
    return whole + (((values - whole - 0.5) / temperature).sigmoid() - start) / (end - start)


def bits_per_pixel(levels: Blocks, path: Blocks | None = None, *, progressive: bool = False) -> Tensor:
    """A model of the bits of a JPEG with optimised Huffman codes, without headers and tables: (N,).

    Sequential, and progressive as libjpeg scans by default:

    - An AC level that is not zero: 2.53 (2.14) + 2.26 (2.40) log2(1 + zeros before it, at most 7) + 1.89 (1.76)
      log2 |level|; a code for run and category, then the category's bits (T.81, F.1.2.2).
    - A DC level: 1.98 (2.64) log2(1 + |difference to the block on its left|) (F.1.2.1).
    - A block: 2.45 (2.24) more, and 1.44 (2.60) for the end of its AC levels if it has any.

    Between whole levels it is the expectation for coefficients that are one or the other neighbour at random, each on
    its own. So the derivative at an AC level is what the model gains or loses if that level alone goes to the neighbour
    towards which the path lies.

    Fitted to every other of 41 photographs (crops of 384x384, qualities 10..96, each also with levels that fell by one,
    chosen by several rules and networks). Against the scans of cjpeg's files of the rest: 4.8 (3.4) % root mean square,
    correlation of the logarithms 0.9994 (0.9996); what fallen levels save is 0.98 .. 1.04 (0.94 .. 1.07) times what
    they save in the files (80 of 100). Headers and tables are 300 .. 900 bytes more.

    Args:
        levels: for the value.
        path: for the gradient: numbers less than a step away from the levels. By default the levels; whole ones then
            tell what another step outwards costs, and zeros, which do not know their sign, nothing.
        progressive: which of the two.
    """
    path = path or levels
    model = PROGRESSIVE if progressive else SEQUENTIAL
    bits = _bits(levels.luma, path.luma, model) + _bits(levels.chroma, path.chroma, model)
    return bits / (levels.height * levels.width)


def _bits(levels: Tensor, path: Tensor, model: RateModel) -> Tensor:
    """Bits (N,) of blocks (N, C, h, w, 8, 8), and the gradient to ``path``."""

    def expected(cost: Callable[[Tensor], Tensor], part: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            value = _interpolated(cost, part(levels))
        return _through(value, _interpolated(cost, part(path)))

    nonzero = expected(lambda size: size.clamp(max=1), _ac)
    magnitude = expected(lambda size: size.clamp(min=1).log2(), _ac)
    difference = expected(lambda size: (size + 1).log2(), _dc_differences)
    return (
        model.a_block * (levels[0].numel() // 64)
        + model.a_block_with_ac * (1 - (1 - nonzero).prod(-1)).flatten(1).sum(1)
        + model.dc_difference * difference.flatten(1).sum(1)
        + (model.ac_nonzero * nonzero + model.ac_magnitude * magnitude).flatten(1).sum(1)
        + model.ac_run * _runs(nonzero)
    )


def _runs(nonzero: Tensor) -> Tensor:
    """Sum (N,) of log2(1 + zeros before it) over what is not zero; probabilities (N, C, h, w, 63) in zigzag order."""
    total = nonzero.new_zeros(nonzero.shape[0])
    zero, after = 1 - nonzero, nonzero  # not zero, and after at least `length` zeros
    for length in range(1, LONGEST_RUN + 1):
        after = after[..., 1:] * zero[..., :-length]
        total = total + math.log2((length + 1) / length) * after.flatten(1).sum(1)
    return total


def _ac(levels: Tensor) -> Tensor:
    """(N, C, h, w, 8, 8) -> (N, C, h, w, 63) in zigzag order."""
    return levels.flatten(-2)[..., ZIGZAG[1:].to(levels.device)]


def _dc_differences(levels: Tensor) -> Tensor:
    """(N, C, h, w, 8, 8) -> (N, C, h, w): to the block on the left, at the left edge to the one above.

    Luma in 4:2:0 is coded by fours, which makes little difference to the sizes of the differences.
    """
    dc = levels[..., 0, 0]
    before = F.pad(dc[:, :, :-1, :1], (0, 0, 1, 0))
    return dc - torch.cat([before, dc[..., :-1]], dim=-1)


def _interpolated(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """A function of whole numbers at the sizes of the values, linear in between."""
    size = values.abs()
    whole = size.detach().floor()
    start = function(whole)
    return start + (function(whole + 1) - start) * (size - whole)


def _through(value: Tensor, path: Tensor) -> Tensor:
    """The value, with the gradient of the path."""
    return value.detach() + (path - path.detach())


def _nearest(values: Tensor) -> Tensor:
    """Halves away from zero (jcdctmgr.c)."""
    return values.sign() * (values.abs() + 0.5).floor()


def _floored(values: Tensor) -> Tensor:
    return _through(values.floor(), values)


def _rounded(values: Tensor) -> Tensor:
    """Halves up, as shifts do after half of the divisor was added."""
    return _floored(values + 0.5)


def _planes(rgb: Tensor, chroma: Chroma) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W), 0..1 -> luma (N, 1, ...) and chroma (N, 2, ...), whole 0..255, sides padded to whole blocks."""
    height, width = rgb.shape[-2:]
    pixels = _rounded(rgb.double().clamp(0, 1) * 255)
    ycc = torch.einsum("ij,njhw->nihw", _TO_YCC.to(rgb.device), pixels)
    ycc = _floored(ycc + _TO_YCC_OFFSET.to(rgb.device))
    luma, colours = ycc[:, :1], ycc[:, 1:]
    if chroma == "420":
        # To the right, columns are repeated before they are halved; below, rows after (jcsample.c, jcprepct.c).
        colours = _halved(_extended(colours, -width % 16, height % 2))
    return _in_whole_blocks(luma), _in_whole_blocks(colours)


def _in_whole_blocks(planes: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    return _extended(planes, -width % 8, -height % 8)


def _extended(planes: Tensor, right: int, below: int) -> Tensor:
    """The last column and row repeated."""
    return F.pad(planes, (0, right, 0, below), mode="replicate")


def _halved(planes: Tensor) -> Tensor:
    """Means of 2x2, halves rounded down and up in turn (jcsample.c, h2v2_downsample)."""
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    sums = rows[..., ::2] + rows[..., 1::2]
    bias = torch.tensor([1.0, 2.0]).repeat(sums.shape[-1] // 2).to(sums)
    return _floored((sums + bias) / 4)


def _in_blocks(planes: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 8, W / 8, 8, 8)."""
    count, channels, height, width = planes.shape
    return planes.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)


def _in_rows(blocks: Tensor) -> Tensor:
    """(N, C, h, w, 8, 8) -> (N, C, 8 h, 8 w)."""
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _fdct(blocks: Tensor) -> Tensor:
    """Orthonormal DCT, multiples of 1/8: rows with two fractional bits, then columns (jfdctint.c)."""
    dct = _DCT.to(blocks.device)
    rows = _rounded(4 * (blocks @ dct.T))
    return _rounded((dct @ rows) / 4) / 8


def _idct(blocks: Tensor) -> Tensor:
    """The inverse, whole numbers: columns with two fractional bits, then rows (jidctint.c)."""
    dct = _DCT.to(blocks.device)
    columns = _rounded(4 * (dct.T @ blocks))
    return _rounded((columns @ dct) / 32)


def _doubled(planes: Tensor) -> Tensor:
    """Twice as high and wide: each way 3/4 of the nearest sample, 1/4 of the next (jdsample.c, h2v2_fancy_upsample)."""
    if planes.shape[-1] <= 2:  # jinit_upsampler finds these too narrow
        return planes.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    near, beside = 3 * planes, F.pad(planes, (0, 0, 1, 1), mode="replicate")
    rows = torch.stack([near + beside[..., :-2, :], near + beside[..., 2:, :]], dim=-2).flatten(-3, -2)
    near, beside = 3 * rows, F.pad(rows, (1, 1, 0, 0), mode="replicate")
    sums = torch.stack([near + beside[..., :-2] + 8, near + beside[..., 2:] + 7], dim=-1).flatten(-2)
    return _floored(sums / 16)


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """Whole samples 0..255 -> (N, 3, H, W), 8 bits as 0..1, float32 (jdcolor.c, ycc_rgb_convert)."""
    cb, cr = chroma[:, :1] - 128, chroma[:, 1:] - 128
    red = luma + _rounded(_CR_IN_RED * cr)
    green = luma + _rounded(_CB_IN_GREEN * cb + _CR_IN_GREEN * cr)
    blue = luma + _rounded(_CB_IN_BLUE * cb)
    return (torch.cat([red, green, blue], dim=1).clamp(0, 255) / 255).float()
