"""WebP without loss, and with losses of a few grey levels (near-lossless), which drawings and screenshots want."""

import io
from collections.abc import Iterator

from kcompress.images import Image, pillow, pnm
from kcompress.programs import CWEBP

_NEAR = "60"
"""cwebp's -near_lossless: samples may change by up to 2 bits where neighbours differ."""


def lossless(image: Image, effort: int) -> Iterator[tuple[str, bytes]]:
    """Files of a picture, (kind, bytes), lossless first; near-lossless by cwebp alone.

    Raises:
        ProgramError: the encoder failed.
    """
    if CWEBP.version() is not None:
        arguments = ["-quiet", "-lossless", "-q", "75", "-m", str(effort)]
        yield "lossless", CWEBP.run([*arguments, "-o", "-", "--", "-"], pnm(image))
        if image.alpha is None:  # which it would change, too
            yield "near-lossless", CWEBP.run([*arguments, "-near_lossless", _NEAR, "-o", "-", "--", "-"], pnm(image))
        return
    output = io.BytesIO()
    pillow(image).save(output, "WEBP", lossless=True, quality=75, method=effort)
    yield "lossless", output.getvalue()
