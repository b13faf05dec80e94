"""VMAF and VMAF NEG of still pictures, by libvmaf inside imageio-ffmpeg's ffmpeg.

Source: Netflix, github.com/Netflix/vmaf, models ``vmaf_v0.6.1`` and ``vmaf_v0.6.1neg`` (NEG: no enhancement gain, so
that sharpening is not rewarded).

Both look at luma alone. It is computed here, in whole numbers: BT.709, limited range (16..235), 8 bits, as in the HD
video that the models were trained on, so no scaler of ffmpeg's touches the samples. Chroma is sent as neutral 4:4:4.
"""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from kcompress.errors import ProgramError
from kcompress.images import Pixels
from kcompress.programs import ffmpeg, scratch_folder

Model = Literal["vmaf_v0.6.1", "vmaf_v0.6.1neg"]

SMALLEST_SIDE = 33  # libvmaf crashes below 17, and below 33 identical pictures miss the maximum

MAXIMUM = 97.4
"""Identical still pictures score 97.42 to 97.43, not 100: the models expect motion, of which a picture has none."""

INSTALL = "Reinstall the Python package imageio-ffmpeg."

# Shares of red, green and blue in luma, of 65536, for 219 steps.
_LUMA = (11966, 40254, 4064)


@functools.cache
def available() -> bool:
    """Whether the ffmpeg at hand holds libvmaf."""
    try:
        return b" libvmaf " in ffmpeg().run(["-hide_banner", "-filters"])
    except ProgramError:
        return False


def prepare(original: Pixels, model: Model) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 33.

    Scores are 0..100, higher is better; ``MAXIMUM`` for identical pictures.

    Raises (the function):
        ProgramError: ffmpeg failed or wrote no score.
    """
    height, width = original.shape[:2]
    frame = _frame(original)
    video = ["-f", "rawvideo", "-pixel_format", "yuv444p", "-video_size", f"{width}x{height}"]

    def score(distorted: Pixels) -> float:
        with scratch_folder() as folder:
            log, stored = folder / "vmaf.json", folder / "original.yuv"
            stored.write_bytes(frame)
            compare = f"libvmaf=model=version={model}:n_threads=1:log_fmt=json:log_path={_escaped(log)}"
            arguments = ["-hide_banner", "-loglevel", "error", *video, "-i", "-", *video, "-i", str(stored)]
            ffmpeg().run([*arguments, "-filter_complex", compare, "-f", "null", "-"], _frame(distorted))
            try:
                return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])
            except (OSError, ValueError, KeyError) as error:
                raise ProgramError(f"ffmpeg's libvmaf wrote no score. {INSTALL}") from error

    return score


def luma(pixels: Pixels) -> Pixels:
    """BT.709 luma (H, W), 16..235, of RGB pixels (H, W, 3)."""
    red, green, blue = (share * pixels[:, :, channel].astype(np.uint32) for channel, share in enumerate(_LUMA))
    return (16 + ((red + green + blue + 32768) >> 16)).astype(np.uint8)


def _frame(pixels: Pixels) -> bytes:
    """One frame of yuv444p."""
    y = luma(pixels).tobytes()
    return y + b"\x80" * (2 * len(y))


def _escaped(path: Path) -> str:
    """Path as an option of a filter in a filter graph, quoted once for each of the two parsers."""
    option = re.sub(r"([\\':])", r"\\\1", path.as_posix())
    return re.sub(r"([\\'\[\],;])", r"\\\1", option)
