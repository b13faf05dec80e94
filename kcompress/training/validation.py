"""Validation with the real encoders: what a preprocessor saves, and what it costs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kcompress.codecs import CODECS, decode
from kcompress.encoding import encode
from kcompress.images import read
from kcompress.metrics.psnr import psnr
from kcompress.networks import Preprocessor


def size_changes(preprocessor: Preprocessor, photos: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Per codec at its default quality: total size against the plain codec, and PSNR to the original for both.

    The embedded encoders are used, so that the figures do not depend on what is installed.
    """
    figures = {}
    for codec in CODECS.values():
        setting = codec.setting()
        backend = codec.backends[-1].name
        sizes, quality = np.zeros(2), np.zeros(2)
        for path in photos:
            image = read(path.read_bytes(), name=str(path))
            for number, prepared in enumerate((preprocessor, None)):
                encoded = encode(image, codec, setting, prepared, backend)
                sizes[number] += len(encoded.data)
                quality[number] += psnr(image.pixels, decode(encoded.data).pixels) / len(photos)
        figures[codec.name] = {
            "quality": setting.quality,
            "size_change_percent": round(float(100 * (sizes[0] / sizes[1] - 1)), 2),
            "psnr_db": round(float(quality[0]), 3),
            "psnr_db_plain_codec": round(float(quality[1]), 3),
        }
    return figures
