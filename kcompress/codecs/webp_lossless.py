"""WebP without loss, and with losses of a few grey levels (near-lossless)."""

import io

from kcompress.codecs.lossless import LOSSLESS, Lossless
from kcompress.images import Image, pillow, pnm
from kcompress.programs import CWEBP


def method(effort: int) -> int:
    """Method of libwebp, 0..6: lossy WebP has one effort more."""
    return min(effort, 6)


class WebpLossless(Lossless):
    """The program ``cwebp``, or without it Pillow, which knows no near-lossless."""

    _LEVELS = 0, 20, 40, 60, 80, LOSSLESS
    """Where neighbours differ, samples may change by 5 to 0 bits."""

    def levels(self, image: Image) -> tuple[int, ...]:
        # Near-lossless changes alpha, too.
        return self._LEVELS if CWEBP.version() is not None and image.alpha is None else (LOSSLESS,)

    def encode(self, image: Image, effort: int, level: int) -> bytes:
        if CWEBP.version() is not None:
            near = ["-near_lossless", str(level)] if level != LOSSLESS else []
            return CWEBP.run(
                ["-quiet", "-lossless", "-q", "75", "-m", str(method(effort)), *near, "-o", "-", "--", "-"], *pnm(image)
            )
        output = io.BytesIO()
        pillow(image).save(output, "WEBP", lossless=True, quality=75, method=method(effort))
        return output.getvalue()
