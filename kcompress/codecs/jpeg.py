"""JPEG: libjpeg-turbo's or mozjpeg's ``cjpeg``, Pillow, mozjpeg inside libvips, or jpegli."""

import functools
import importlib.util
import io
import threading
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageFile, features

from kcompress.codecs.codec import Backend, Codec, Scale
from kcompress.codecs.containers.jpeg import is_complete, with_best_scans, with_metadata
from kcompress.codecs.quantisation import ENCODERS_OWN, OWN, STANDARD
from kcompress.errors import ProgramError
from kcompress.images import Image, pillow, pnm
from kcompress.programs import CJPEG, package_version, scratch_folder
from kcompress.setting import Setting, Table

SEQUENTIAL, LIBJPEG_SCANS, BEST_SCANS = range(3)
"""Efforts: one scan; progressive by libjpeg's script; progressive by scans that are chosen for the picture."""


def _finished(jpeg: bytes, setting: Setting) -> bytes:
    """A file of libjpeg-turbo in the scans of the setting. A broken one stays broken, so that it is found out."""
    return with_best_scans(jpeg) if setting.effort == BEST_SCANS and is_complete(jpeg) else jpeg


def written_tables(backend: Backend, setting: Setting) -> tuple[Table, Table]:
    """Luma and chroma steps that a backend writes for a setting, row order.

    Raises:
        ProgramError: the encoder failed.
    """
    # Without effort, mozjpeg is libjpeg.
    key = backend.name, backend.version(), setting.quality, setting.effort, setting.tables
    found = _written.get(key)
    if found is None:
        data = backend.encode(Image(np.zeros((16, 16, 3), np.uint8)), setting)
        written: dict[int, list[int]] = PIL.Image.open(io.BytesIO(data)).quantization  # type: ignore[attr-defined]
        luma, *rest = written.values()
        chroma = rest[0] if rest else luma
        found = _written[key] = tuple(luma), tuple(chroma)
    return found


_written: dict[tuple[object, ...], tuple[Table, Table]] = {}


class Cjpeg(Backend):
    """The program ``cjpeg``; whose it is, libjpeg-turbo's or mozjpeg's, the version says.

    With tables that are chosen, mozjpeg's does as libjpeg-turbo's: behind ``rdo`` its trellis makes files worse.
    """

    name = "cjpeg"
    takes_tables = True
    install = CJPEG.install

    @property
    def trellis(self) -> bool:
        return "mozjpeg" in (self.version() or "")

    def version(self) -> str | None:
        return CJPEG.version()

    def encode(self, image: Image, setting: Setting) -> bytes:
        if setting.tables is None or setting.tables_name in (STANDARD.name, OWN):
            return self._run(["-quality", str(setting.quality)], image, setting)
        with scratch_folder() as folder:
            file = folder / "tables.txt"
            file.write_text("\n".join(" ".join(map(str, table)) for table in setting.tables))
            # Quality scales the tables of a file, at 50 by 1.
            return self._run(["-quality", "50", "-qtables", str(file)], image, setting)

    def _run(self, tables: list[str], image: Image, setting: Setting) -> bytes:
        """A file of the setting by these arguments for its tables."""
        # -sample always: mozjpeg's cjpeg changes the sampling by quality otherwise. One plane has no sampling.
        sampling = "2x2" if setting.chroma == "420" and not image.grey else "1x1"
        itself = self.trellis and setting.tables_name in (None, OWN) and setting.effort
        # Scans that are chosen get codes of their own.
        optimize = ["-optimize"] if itself or setting.effort != BEST_SCANS else []
        # -baseline keeps the tables at 8 bits below quality 25, where some readers know nothing else.
        arguments = [*tables, "-sample", sampling, *optimize, "-baseline"]
        if itself:
            return CJPEG.run([*arguments, "-progressive"], *pnm(image))
        # mozjpeg's is progressive and searches, unless told to be its ancestor.
        revert = ["-revert"] if self.trellis else []
        progressive = ["-progressive"] if setting.effort == LIBJPEG_SCANS else []
        return _finished(CJPEG.run([*revert, *arguments, *progressive], *pnm(image)), setting)


class PillowJpeg(Backend):
    """libjpeg-turbo inside Pillow: the same bytes as its cjpeg."""

    name = "pillow"
    install = "Reinstall the Python package pillow."
    _enlarging = threading.Lock()

    def version(self) -> str | None:
        return f"Pillow {PIL.__version__}, libjpeg-turbo {features.version_feature('libjpeg_turbo')}"

    def encode(self, image: Image, setting: Setting) -> bytes:
        try:
            return _finished(self._saved(image, setting), setting)
        except OSError:
            # Noise at high quality outgrows the one buffer that Pillow writes into; its size is a global of Pillow's.
            with self._enlarging:
                usual = ImageFile.MAXBLOCK
                ImageFile.MAXBLOCK = 8 * (image.width + 16) * (image.height + 16)  # more bytes than any needs
                try:
                    return _finished(self._saved(image, setting), setting)
                except OSError as error:
                    raise ProgramError(f"Pillow cannot write this JPEG ({error}). Try another --backend.") from error
                finally:
                    ImageFile.MAXBLOCK = usual

    @staticmethod
    def _saved(image: Image, setting: Setting) -> bytes:
        output = io.BytesIO()
        tables, progressive, optimize = setting.tables, setting.effort == LIBJPEG_SCANS, setting.effort != BEST_SCANS
        sampling = {} if image.grey else {"subsampling": "4:2:0" if setting.chroma == "420" else "4:4:4"}
        pillow(image).save(output, "JPEG", qtables=tables, optimize=optimize, progressive=progressive, **sampling)
        return output.getvalue()


class VipsMozjpeg(Backend):
    """mozjpeg inside libvips: trellis quantisation and its own table (number 3)."""

    name = "mozjpeg"
    trellis = True
    install = "pip install 'kcompress[mozjpeg]' (pyvips and its binary build of libvips)."

    def version(self) -> str | None:
        vips = _vips()
        return None if vips is None else f"libvips {vips.version(0)}.{vips.version(1)}.{vips.version(2)}"

    def encode(self, image: Image, setting: Setting) -> bytes:
        vips = _vips()
        samples = np.ascontiguousarray(image.pixels[:, :, :1] if image.grey else image.pixels)
        picture = vips.Image.new_from_memory(samples.data, image.width, image.height, samples.shape[2], "uchar")
        picture = picture.copy(interpretation="b-w" if image.grey else "srgb")
        jpeg: bytes = picture.jpegsave_buffer(
            Q=max(1, setting.quality), subsample_mode="on" if setting.chroma == "420" else "off",
            interlace=setting.effort > 0, optimize_scans=setting.effort > 0, optimize_coding=True,
            trellis_quant=True, overshoot_deringing=True, quant_table=3, keep="none",
        )  # fmt: skip
        return jpeg


@functools.cache
def _vips() -> Any:
    """The module pyvips, or None where it or its mozjpeg is missing."""
    if importlib.util.find_spec("pyvips") is None:
        return None
    try:
        import pyvips  # an extra, and slow to load
    except OSError:  # the package without the library
        return None
    # A libvips that was built without mozjpeg takes the options too and ignores them: both tables are then the same.
    flat = pyvips.Image.black(8, 8)
    one, other = (flat.jpegsave_buffer(Q=50, quant_table=number) for number in (0, 3))
    return None if one == other else pyvips


class Jpegli(Backend):
    """jpegli inside pyjpegli: an adaptive dead zone and tables of its own; colour in 4:2:0 alone.

    pyjpegli writes one scan. Progressive, as jpegli's own program writes by default, the file becomes here.
    """

    name = "jpegli"
    trellis = True
    chromas = ("420",)
    install = "pip install 'kcompress[jpegli]' (pyjpegli)."

    def version(self) -> str | None:
        return package_version("pyjpegli")

    def refuses(self, image: Image) -> str | None:
        return "writes no grey pictures" if image.grey else None

    def encode(self, image: Image, setting: Setting) -> bytes:
        import pyjpegli  # an extra

        samples = np.ascontiguousarray(image.pixels)
        jpeg: bytes = pyjpegli.encode(samples, image.width, image.height, quality=max(1, setting.quality))
        return with_best_scans(jpeg) if setting.effort else jpeg


JPEG = Codec(
    name="jpeg",
    suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
    quality=Scale(finest=100, coarsest=0, default=75),
    effort=Scale(finest=SEQUENTIAL, coarsest=BEST_SCANS, default=BEST_SCANS),
    plain_effort=LIBJPEG_SCANS,
    chromas=("420", "444"),
    max_side=65500,
    alpha=False,
    segments=True,
    backends=(Cjpeg(), PillowJpeg()),
    only_by_name=(VipsMozjpeg(), Jpegli()),
    tables=ENCODERS_OWN,
    is_complete=is_complete,
    add_metadata=lambda data, image: with_metadata(data, image.icc, image.exif, image.xmp, image.segments),
)
