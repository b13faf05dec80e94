"""Tone mapping of BT.2100 pictures (PQ, HLG) to sRGB.

code -> light in cd/m2 -> EETF of BT.2390 -> BT.709 primaries -> sRGB. Sources: ITU-R BT.2100 (curves), BT.2390
section 5.4.1 (EETF: untouched up to a knee, then a Hermite spline), BT.2408 (203 cd/m2 is reference white, sRGB's 255).
Pictures are taken as mastered for 1000 cd/m2; what is brighter becomes white. The greatest of R, G and B is
mapped and the other two go with it, so that hues stay.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_WHITE, _PEAK = 203.0, 1000.0  # cd/m2
_BT709_FROM_XYZ = np.array(
    [[3.2409699419, -1.5373831776, -0.4986107603], [-0.9692436363, 1.8759675015, 0.0415550574],
     [0.0556300797, -0.2039769589, 1.0569715142]]
)  # fmt: skip
_STRIP = 256  # rows at a time: float copies of a large picture are large
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def tone_mapped(
    pixels: NDArray[np.uint8], system: Literal["PQ", "HLG"], to_xyz: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of a BT.2100 system, with the matrix of their primaries to XYZ, as sRGB."""
    codes = np.arange(256) / 255
    levels = (_pq_light(codes) if system == "PQ" else _hlg_scene(codes)).astype(np.float32)
    to_bt709 = (_BT709_FROM_XYZ @ to_xyz).astype(np.float32)
    result = np.empty_like(pixels)
    for top in range(0, pixels.shape[0], _STRIP):
        light = levels[pixels[top : top + _STRIP]]
        if system == "HLG":  # the system's gamma of 1.2 at 1000 cd/m2 acts on luminance
            luminance = light @ to_xyz[1].astype(np.float32)
            light = _PEAK * light * (luminance**0.2)[:, :, None]
        greatest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
        linear = np.clip((light * (_eetf(greatest) / greatest)) @ to_bt709.T / _WHITE, 0, 1)
        curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        result[top : top + _STRIP] = np.rint(255 * curved)
    return result


def _pq_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    root = code ** (1 / _M2)
    return np.asarray(10000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def _pq_code(light: NDArray[np.floating]) -> NDArray[np.floating]:
    power = (light / 10000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_scene(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scene light 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _eetf(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Light 0..1000 cd/m2 brought down to 0..203."""
    peak = _pq_code(np.array(_PEAK))
    most = _pq_code(np.array(_WHITE)) / peak
    knee = 1.5 * most - 0.5
    code = np.minimum(_pq_code(light) / peak, 1)
    t = np.maximum(code - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return _pq_light(np.where(code < knee, code, spline) * peak)
