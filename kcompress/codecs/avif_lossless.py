"""AVIF without loss, by ``avifenc``: smaller than PNG for smooth drawings, larger for text."""

from dataclasses import replace

from kcompress.codecs.lossless import LOSSLESS, Lossless
from kcompress.errors import ProgramError
from kcompress.images import Image, write
from kcompress.programs import AVIFENC, scratch_folder


class AvifLossless(Lossless):
    """The program ``avifenc``."""

    def levels(self, image: Image) -> tuple[int, ...]:
        # Metadata could be added by avifenc alone.
        return () if AVIFENC.version() is None or image.icc or image.exif or image.xmp else (LOSSLESS,)

    def encode(self, image: Image, effort: int, level: int) -> bytes:
        with scratch_folder() as folder:
            source, target = folder / "picture.png", folder / "picture.avif"
            source.write_bytes(write(replace(image, icc=None, exif=None, xmp=None), "PNG"))
            AVIFENC.run(["--lossless", "--speed", str(10 - effort), "-o", str(target), str(source)])
            try:
                return target.read_bytes()
            except OSError:
                raise ProgramError("avifenc ended well but wrote no file. Try another --backend.") from None
