"""Colour that a file tells without an ICC profile, by ITU-T H.273 codes or by primaries and a gamma.

The rule: nothing but sRGB is taken for sRGB in silence.

* BT.709 primaries with the sRGB curve, or with one of BT.709's family (codes 1, 6, 14, 15), are sRGB, as in all
  browsers. So is a PNG gamma of 1/2.2 (0.45455), which PNG writes for sRGB.
* Other primaries and curves keep their samples and get the matching ICC profile, with a note.
* PQ and HLG (BT.2100) are tone-mapped to sRGB, see ``kcompress.images.hdr``, with a note.
* Codes without a definition, or for no display (logarithmic), are refused.
"""

from dataclasses import dataclass, replace
from typing import Literal

from kcompress.errors import UnsupportedError
from kcompress.images.hdr import tone_mapped
from kcompress.images.icc import Curve, Primaries, display_profile, xyz_matrix
from kcompress.images.image import Image

UNSPECIFIED = 2
"""H.273 code of primaries and transfer that the file leaves open."""

_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
BT709: Primaries = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
ADOBE_RGB: Primaries = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65)
_SMPTE_C: Primaries = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65)
# H.273, table 2.
_PRIMARIES: dict[int, tuple[str, Primaries]] = {
    1: ("BT.709", BT709),
    4: ("BT.470 M", (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C)),
    5: ("BT.470 BG", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65)),
    6: ("BT.601", _SMPTE_C),
    7: ("SMPTE 240M", _SMPTE_C),
    8: ("film", (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C)),
    9: ("BT.2020", (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65)),
    11: ("DCI P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351)),
    12: ("Display P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65)),
    22: ("EBU 3213", (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65)),
}
SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE: Curve = (1 / 0.45, 1 / 1.09929682680944, 0.09929682680944 / 1.09929682680944, 1 / 4.5, 0.081242858)
# H.273, table 3: the inverse, from the sample to light.
_CURVES: dict[int, tuple[str, Curve]] = {
    1: ("BT.709", _BT709_CURVE),
    4: ("gamma 2.2", (2.2, 1, 0, 0, 0)),
    5: ("gamma 2.8", (2.8, 1, 0, 0, 0)),
    6: ("BT.601", _BT709_CURVE),
    7: ("SMPTE 240M", (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0913)),
    8: ("linear", (1, 1, 0, 0, 0)),
    11: ("xvYCC", _BT709_CURVE),
    12: ("BT.1361", _BT709_CURVE),
    13: ("sRGB", SRGB_CURVE),
    14: ("BT.2020", _BT709_CURVE),
    15: ("BT.2020", _BT709_CURVE),
    17: ("SMPTE 428", (2.6, (52.37 / 48) ** (1 / 2.6), 0, 0, 0)),
}
_HDR: dict[int, Literal["PQ", "HLG"]] = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True)
class Colour:
    """Colour space of RGB samples.

    Attributes:
        name: as users know it.
        source: part of the file that tells it, ``cICP`` say.
        primaries: of red, green, blue and white.
        curve: from the sample to light, or the BT.2100 system.
        is_srgb: the samples can be taken for sRGB.
    """

    name: str
    source: str
    primaries: Primaries
    curve: Curve | Literal["PQ", "HLG"]
    is_srgb: bool = False


def by_codes(primaries: int, transfer: int, source: str, name: str) -> Colour | None:
    """Colour of H.273 codes; None where the file leaves both open.

    Raises:
        UnsupportedError: reserved codes, and curves that are for no display.
    """
    if primaries == transfer == UNSPECIFIED:
        return None
    label, known = _PRIMARIES.get(1 if primaries == UNSPECIFIED else primaries, ("", None))
    if known is None or (transfer not in _CURVES and transfer not in _HDR and transfer != UNSPECIFIED):
        raise UnsupportedError(
            f"{name}: this kind is not supported: colours of primaries {primaries} and transfer {transfer} "
            f"(ITU-T H.273, told by its {source}). Convert it to sRGB."
        )
    if transfer in _HDR:
        return Colour(f"{label} {_HDR[transfer]}", source, known, _HDR[transfer])
    curve_name, curve = _CURVES[13 if transfer == UNSPECIFIED else transfer]
    full = label if curve_name in ("sRGB", label) else f"{label}, {curve_name}"
    return Colour(full, source, known, curve, known is BT709 and curve in (SRGB_CURVE, _BT709_CURVE))


def by_gamma(primaries: Primaries | None, gamma: float | None, source: str) -> Colour | None:
    """Colour of chromaticities and a decoding exponent; None where they make no sense."""
    try:
        xyz_matrix(primaries or BT709)
    except ValueError:
        return None
    if gamma is not None and not 0.2 <= gamma <= 10:
        return None
    near = primaries is None or max(abs(a - b) for a, b in zip(primaries, BT709, strict=True)) < 0.005
    usual = gamma is None or abs(gamma - 2.2) < 0.05
    curve: Curve = SRGB_CURVE if gamma is None else (gamma, 1, 0, 0, 0)
    name = "sRGB primaries" if near else "primaries of its own"
    return Colour(
        name if gamma is None else f"{name}, gamma {gamma:.3g}", source, primaries or BT709, curve, near and usual
    )


def adobe_rgb(source: str) -> Colour:
    """Adobe RGB (1998), which cameras tell by a letter in EXIF."""
    return Colour("Adobe RGB (1998)", source, ADOBE_RGB, (563 / 256, 1, 0, 0, 0))


def with_colour(image: Image, colour: Colour | None) -> Image:
    """The picture with its colour made known: nothing for sRGB, an ICC profile, or HDR tone-mapped to sRGB."""
    if colour is None:
        return image
    if colour.is_srgb:
        return replace(image, icc=None)
    if colour.curve in ("PQ", "HLG"):
        pixels = tone_mapped(image.pixels, colour.curve, xyz_matrix(colour.primaries))
        note = f"its colours are {colour.name} ({colour.source}): tone-mapped to sRGB"
        return replace(image.with_pixels(pixels), icc=None).noted(note)
    icc = display_profile(colour.name, colour.primaries, colour.curve, grey=image.grey)  # type: ignore[arg-type]
    return replace(image, icc=icc).noted(
        f"its colours are {colour.name}, as told by its {colour.source}, not by an ICC profile"
    )
