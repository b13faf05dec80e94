"""AVIF without loss, by ``avifenc``: smaller than PNG for smooth drawings, larger for text."""

from collections.abc import Iterator
from dataclasses import replace

from kcompress.errors import ProgramError
from kcompress.images import Image, write
from kcompress.programs import AVIFENC, scratch_folder


def lossless(image: Image, effort: int) -> Iterator[tuple[str, bytes]]:
    """The file of a picture with its kind, without metadata; none where there is no avifenc.

    Raises:
        ProgramError: the encoder failed.
    """
    if AVIFENC.version() is None or image.icc or image.exif or image.xmp:  # which avifenc alone could add
        return
    with scratch_folder() as folder:
        source, target = folder / "picture.png", folder / "picture.avif"
        source.write_bytes(write(replace(image, icc=None, exif=None, xmp=None), "PNG"))
        AVIFENC.run(["--lossless", "--speed", str(10 - effort), "-o", str(target), str(source)])
        try:
            yield "lossless", target.read_bytes()
        except OSError:
            raise ProgramError("avifenc ended well but wrote no file. Try another --backend.") from None
