"""AVIF: AV1 intra pictures by libavif and libaom, inside Pillow or by the program ``avifenc``."""

import io
from dataclasses import replace

import PIL
from PIL import AvifImagePlugin, features

from kcompress.codecs.avif_lossless import lossless
from kcompress.codecs.codec import Backend, Codec, Scale
from kcompress.errors import ProgramError
from kcompress.images import Image, pillow, write
from kcompress.images.heif import parse
from kcompress.programs import AVIFENC, scratch_folder
from kcompress.setting import Setting

_FASTEST = 10
"""libaom's speed at effort 0."""

_THREADS = 8
"""Two and more write the same bytes, whatever the machine has; one alone writes others, and a large picture slowly."""


_EMPTY_EXIF = b"II*\0\x08\0\0\0" + bytes(6)
"""EXIF of no entries: the shortest there is."""


class PillowAvif(Backend):
    """libavif inside Pillow, with a libaom that is newer than those of most systems."""

    name = "pillow"
    install = "Upgrade the Python package pillow: wheels from 11.3 on have AVIF."

    def version(self) -> str | None:
        aom = AvifImagePlugin.get_codec_version("aom") if features.check("avif") else None
        return None if aom is None else f"Pillow {PIL.__version__}, libavif {features.version('avif')}, aom {aom}"

    def encode(self, image: Image, setting: Setting) -> bytes:
        output = io.BytesIO()
        # Pillow writes EXIF anew where it tells an orientation, and loses what it does not know: ours takes its place.
        vacant = None if image.exif is None else _EMPTY_EXIF + bytes(len(image.exif) - len(_EMPTY_EXIF))
        pillow(image).save(
            output, "AVIF", codec="aom", quality=setting.quality, speed=_FASTEST - setting.effort,
            subsampling=":".join(_sampling(image, setting)), max_threads=_THREADS, autotiling=False,
            icc_profile=image.icc, exif=vacant, xmp=image.xmp,
        )  # fmt: skip
        data = output.getvalue()
        return data if vacant is None or image.exif is None else data.replace(vacant, image.exif, 1)


class Avifenc(Backend):
    """The program ``avifenc``, with whatever libaom the system has: same quality, other bytes."""

    name = "avifenc"
    install = AVIFENC.install
    bits = (8, 10)

    def version(self) -> str | None:
        return AVIFENC.version()

    def encode(self, image: Image, setting: Setting) -> bytes:
        with scratch_folder() as folder:
            source, target = folder / "picture.png", folder / "picture.avif"
            source.write_bytes(write(replace(image, icc=None, exif=None, xmp=None), "PNG"))
            metadata = []
            for name, content in (("icc", image.icc), ("exif", image.exif), ("xmp", image.xmp)):
                if content is not None:
                    (folder / name).write_bytes(content)
                    metadata += [f"--{name}", str(folder / name)]
            AVIFENC.run([
                "--codec", "aom", "--depth", str(setting.bits), "--yuv", _sampling(image, setting),
                # Primaries and curve of sRGB, or those of the profile; BT.601's matrix.
                "--cicp", "1/13/6" if image.icc is None else "2/2/6", "--range", "full",
                "--speed", str(_FASTEST - setting.effort), "--jobs", str(_THREADS), *self._quality(setting),
                *metadata, "-o", str(target), str(source),
            ])  # fmt: skip
            try:
                return target.read_bytes()
            except OSError:
                raise ProgramError("avifenc ended well but wrote no file. Try another --backend.") from None

    def _quality(self, setting: Setting) -> list[str]:
        """Arguments for a quality 0..100, which avifenc knows from 1.0 on."""
        if not (self.version() or "").startswith("0."):
            return ["--qcolor", str(setting.quality), "--qalpha", str(setting.quality)]
        quantiser = ((100 - setting.quality) * 63 + 50) // 100  # as libavif 1.0 has it
        ranges = [text for name in ("", "alpha") for text in (f"--min{name}", "0", f"--max{name}", "63")]
        # Later ones take a tune for eyes by themselves.
        return [*ranges, "-a", "end-usage=q", "-a", f"cq-level={quantiser}", "-a", "color:tune=ssim"]


def _sampling(image: Image, setting: Setting) -> str:
    return "400" if image.grey else setting.chroma


def is_complete(data: bytes) -> bool:
    """Whether it is AVIF and its items, which libavif writes last, end where it ends."""
    still = parse(data)
    if still is None or not still.is_avif:
        return False
    ends = [offset + length for method, parts in still.places.values() if not method for offset, length in parts]
    return max(ends, default=0) == len(data)


AVIF = Codec(
    name="avif",
    suffixes=(".avif",),
    quality=Scale(finest=100, coarsest=0, default=60),
    effort=Scale(finest=0, coarsest=10, default=4),
    chromas=("420", "444"),
    bits=(8, 10),
    max_side=16384,  # the longest that a level of AV1 allows
    alpha=True,
    # Tuned for eyes, which needs a recent libaom: avifenc of Debian 12 spends a tenth more.
    backends=(PillowAvif(), Avifenc()),
    is_complete=is_complete,
    lossless=lossless,
    kin="hevc",
)
