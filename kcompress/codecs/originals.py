"""Input files that a codec wrote itself: their own quality, and their bytes under another metadata policy."""

import contextlib
import functools
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import JpegImagePlugin

from kcompress.bitstream.vp8 import quantisers
from kcompress.codecs.containers import jpeg as jpeg_file
from kcompress.codecs.containers import webp as webp_file
from kcompress.codecs.containers.bpg import MAGIC as BPG_MAGIC
from kcompress.codecs.containers.heif_alone import picture_alone
from kcompress.codecs.quantisation import STANDARD
from kcompress.errors import ProgramError
from kcompress.images import Metadata, heif
from kcompress.images import jpeg as jpeg_markers
from kcompress.images.credentials import has_credentials
from kcompress.setting import Chroma, Table

_ORIENTATION = 0x0112
_WEBP_DOUBT = 8


def codec_of(data: bytes) -> str | None:
    """Name of the codec that a file is of; None where it is of none here."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(BPG_MAGIC):
        return "bpg"
    still = heif.parse(data)
    return None if still is None else "avif" if still.is_avif else "hevc"


@dataclass(frozen=True)
class OwnTables:
    """Quantisation tables of a JPEG file, at every quality the same.

    Attributes:
        luma: steps, row order.
        chroma: likewise.
        sampling: of its chroma, the finer one where there are only coarser and finer ones.
    """

    luma: Table
    chroma: Table
    sampling: Chroma
    name: str = "input"

    def at(self, quality: int) -> tuple[Table, Table]:
        return self.luma, self.chroma

    @property
    def quality(self) -> int:
        """Quality at which libjpeg's luma steps are nearest to these, 1..100."""
        return 100 - int(np.abs(_logarithms() - np.log(self.luma)).sum(axis=1).argmin())


@functools.cache
def _logarithms() -> NDArray[np.float64]:
    """Natural logarithms of libjpeg's luma steps by quality (100, 64), from 100 down to 1."""
    return np.log([STANDARD.at(quality)[0] for quality in range(100, 0, -1)])


def webp_quality(data: bytes) -> int | None:
    """Quality 0..100 of a lossy WebP file, by libwebp's scale and at most what it was; None for other files.

    Quantisers of a picture's segments lie around that of its quality, so that their mean is off by up to 8.
    """
    frame = webp_file.lossy_frame(data)
    try:
        indices = quantisers(frame or b"")
    except ValueError:
        return None
    share = (1 - sum(indices) / len(indices) / 127) ** 3
    quality = share * 150 if share < 0.5 else (share + 1) * 50
    return max(0, int(quality) - _WEBP_DOUBT) if quality < 100 else 100


def own_tables(data: bytes) -> OwnTables | None:
    """Tables of a JPEG file; None where it is none of 8 bits in grey or YCbCr."""
    try:
        with Pil.open(io.BytesIO(data), formats=["JPEG"]) as file:
            tables = file.quantization  # type: ignore[attr-defined]
            layers = [tuple(tables[layer[3]]) for layer in file.layer]  # type: ignore[attr-defined]
            is_rgb = len(layers) == 3 and file.info.get("adobe_transform") == 0
            sampling: Chroma = "420" if JpegImagePlugin.get_sampling(file) == 2 else "444"
    except Exception:  # a broken file makes Pillow raise nearly anything
        return None
    if len(layers) not in (1, 3) or is_rgb or not all(1 <= step <= 255 for table in layers for step in table):
        return None
    return OwnTables(layers[0], layers[-1], sampling)


def under_policy(data: bytes, codec: str, metadata: Metadata, *, best_scans: bool = False) -> bytes | None:
    """A file with the metadata of a policy, its picture not encoded again; None where that cannot be done here.

    An EXIF orientation stays, in a block of its own, as the picture is not turned. Whether the file still shows the
    same colours is for the caller to see.

    Args:
        data: the file.
        codec: name of the codec that it is of.
        metadata: ``all`` leaves every byte of metadata where it is.
        best_scans: of JPEG, whether its scans are chosen anew, without loss, where that makes it smaller.
    """
    try:
        return _under_policy(data, codec, metadata, best_scans)
    except Exception:  # a broken file makes readers of its metadata raise nearly anything
        return None


def _under_policy(data: bytes, codec: str, metadata: Metadata, best_scans: bool) -> bytes | None:
    if codec == "jpeg":
        return _jpeg(data, metadata, best_scans)
    if metadata == "all":
        return data
    if codec == "webp":
        turned = _orientation(data)
        if turned is None:
            return webp_file.without_metadata(data, icc=metadata == "icc")
        with Pil.open(io.BytesIO(data)) as file:
            icc = file.info.get("icc_profile") if metadata == "icc" else None
            return webp_file.with_metadata(webp_file.without_metadata(data, icc=False), *file.size, icc, turned)
    return picture_alone(data, icc=metadata == "icc")


def _jpeg(data: bytes, metadata: Metadata, best_scans: bool) -> bytes:
    segments, parts = jpeg_file.applications(data), jpeg_markers.structure(data)
    if metadata == "all":
        # Offsets to what follows the picture, gain maps and films, must stay true.
        # Credentials hold for these very bytes.
        if not best_scans or parts.end < len(data) or has_credentials(data, parts):
            return data
    else:
        segments = [each for each in segments if jpeg_file.without_metadata(*each, icc=metadata == "icc")]
        turned = _orientation(data)
        if turned is not None:
            segments.insert(1 if segments and segments[0][0] == 0xE0 else 0, jpeg_file.exif_segment(turned))
    kept = jpeg_file.with_segments(data, segments, parts.end)
    if best_scans:
        with contextlib.suppress(ProgramError):  # damaged, or of arithmetic coding
            smaller = jpeg_file.with_segments(jpeg_file.with_best_scans_apart(data[: parts.end]), segments)
            kept = min(kept, smaller, key=len)
    return kept


def _orientation(data: bytes) -> bytes | None:
    """EXIF block (TIFF data) that tells nothing but a file's orientation; None where it is upright."""
    with Pil.open(io.BytesIO(data)) as file:
        turned = file.getexif().get(_ORIENTATION, 1)
    if turned not in range(2, 9):
        return None
    block = Pil.Exif()
    block[_ORIENTATION] = turned
    return block.tobytes().removeprefix(b"Exif\0\0")
