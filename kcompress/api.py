"""Python interface: pictures in, files and scores out. ``import kcompress`` loads it when it is first used."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from kcompress.arguments import check
from kcompress.codecs import CODECS
from kcompress.codecs import decode as _decoded
from kcompress.codecs.quantisation import tables_named
from kcompress.errors import InputError, KcompressError, UsageError
from kcompress.evaluation import comparison
from kcompress.images import Metadata, Resize, bits_per_pixel, pillow
from kcompress.presets import resolved
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search import pipeline
from kcompress.search.plan import MIN_SAVING, plan
from kcompress.search.target import BPP, SIZE, Target, score_target
from kcompress.setting import Setting

__all__ = ["Encoded", "KcompressError", "Picture", "compare", "decode", "encode"]

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


@dataclass(frozen=True)
class Encoded:
    """A compressed picture.

    Attributes:
        data: the file.
        width: pixels.
        height: pixels.
        setting: quality, chroma, effort and so on, as the encoder carried them out.
        network: that preprocessed it, by the name of its weights, or ``none``.
        backend: that encoded it.
        scores: by name of the metric: of those that were asked for, and of the target.
        kept: ``original``, ``lossless`` or ``near-lossless`` where such a file stands for the one that was planned.
        notes: on what was changed or could not be had.
    """

    data: bytes = field(repr=False)
    width: int
    height: int
    setting: Setting = field(repr=False)
    network: str
    backend: str
    scores: Mapping[str, float]
    kept: str | None
    notes: tuple[str, ...]

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return bits_per_pixel(len(self.data), self.width, self.height)

    @property
    def codec(self) -> str:
        """Name of the codec."""
        return self.setting.codec

    @property
    def quality(self) -> int:
        """On the codec's own scale."""
        return self.setting.quality


Picture = str | os.PathLike[str] | bytes | Pil.Image | NDArray[np.uint8] | Encoded
"""A path, the bytes of a file, a Pillow picture, or an array of 8 bits: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA."""


def encode(
    picture: Picture, codec: str = "jpeg", *, quality: int | None = None, target: float | str | None = None,
    target_size: int | None = None, target_bpp: float | None = None, preset: str = "default",
    network: str | None = None, weights: str | os.PathLike[str] | None = None, strength: float | None = None,
    refine: int | None = None, tables: str = "auto",
    chroma: str | None = None, bits: int | None = None, effort: int | None = None, sharp_yuv: bool | None = None,
    parameters: Mapping[str, object] | None = None, backend: str = "auto", max_side: int | None = None,
    metadata: Metadata = "icc", background: tuple[int, int, int] | None = None, frame: int | None = None,
    min_saving: float | None = MIN_SAVING, metrics: Sequence[str] | None = None, device: str = "auto", threads: int = 1,
) -> Encoded:  # fmt: skip
    """Preprocess and compress one picture. Arguments are those of the command's options; the file is the same.

    Args:
        picture: path, bytes of a file, Pillow picture or array.
        codec: jpeg, webp, hevc, bpg or avif.
        quality: on the codec's own scale.
        target: score to have, in place of a quality: 80 means ``ssimulacra2=80``.
        target_size: largest size, bytes.
        target_bpp: the same in bits per pixel.
        preset: fast, default or best: network, refine and effort where they are None.
        network: preprocessor; ``auto`` takes the one that measures best.
        weights: of the network, in place of those that came along.
        strength: share of the network's whole change, 0..1; None is the share that its weights tell.
        refine: steps of refinement.
        tables: JPEG's quantisation tables: auto, standard, learned or a file.
        chroma: ``420`` or ``444``.
        bits: of a sample.
        effort: on the codec's own scale.
        sharp_yuv: of WebP.
        parameters: of the encoder, by name.
        backend: encoder.
        max_side: longest side, pixels; larger pictures are made smaller first.
        metadata: what is kept: icc, all or none.
        background: colour (R, G, B) to lay transparency over.
        frame: of an animation or of several pages.
        min_saving: share of its bytes that an input of the same codec must lose, or it is kept; None keeps none.
        metrics: to score the file by.
        device: where the network runs.
        threads: for this picture; the file does not depend on them.

    Raises:
        KcompressError: of the kind that the command ends with; nothing is written anywhere.
    """
    check(locals())
    if codec not in CODECS:
        raise UsageError(f"codec {codec!r} is not known. Allowed: {', '.join(CODECS)}.")
    told = [(name, str(value)) for name, value in (parameters or {}).items()]
    chosen = resolved(preset, codec, backend, network, effort, refine)
    setting = CODECS[codec].setting(quality, chroma, chosen.effort, sharp_yuv=sharp_yuv, bits=bits, parameters=told)
    planned = plan(
        CODECS[codec], setting, chosen.network, device=device, strength=strength,
        weights=None if weights is None else Path(weights), backend=backend, metadata=metadata, background=background,
        frame=frame, refine=chosen.refine, threads=threads, tables=tables_named(tables),
        target=_target(quality, target, target_size, target_bpp), finer_chroma=chroma is None and sharp_yuv is None,
        resize=None if max_side is None else Resize(max_side), min_saving=min_saving,
    )  # fmt: skip
    data, name = _file(picture)
    result = pipeline.run(planned, data, name)
    encoded, scores = result.encoded, {}
    if result.target is not None and result.target.metric is not None and result.reached is not None:
        scores[result.target.metric] = result.reached
    missing = [metric for metric in metrics or () if metric not in scores]
    if missing:
        original = planned.codec.conformed(pipeline.picture_of(planned, data, name, planned.codec))
        scores |= FileScorer(original, missing)(encoded.data)
    return Encoded(
        encoded.data, encoded.width, encoded.height, encoded.setting, encoded.network, encoded.backend, scores,
        result.kept, encoded.notes,
    )  # fmt: skip


def decode(file: Picture, *, metadata: Metadata = "icc", frame: int | None = None) -> Pil.Image:
    """Decode a file of any codec, BPG and HEVC streams included: a Pillow picture of mode L, RGB or RGBA, upright.

    Raises:
        InputError: it is missing, corrupt, truncated, or of no known format.
    """
    check(locals())
    data, name = _file(file)
    image = _decoded(data, name, metadata, frame, strict=True)
    picture = pillow(image)
    blocks = {"icc_profile": image.icc, "exif": image.exif, "xmp": image.xmp}
    picture.info |= {name: block for name, block in blocks.items() if block is not None}
    return picture


def compare(original: Picture, other: Picture, metrics: Sequence[str] | None = None) -> dict[str, float | None]:
    """Scores of a picture against its original by metric, of all that are installed unless some are named.

    Colours are compared in sRGB, transparency over white. A picture too small for a metric has None.

    Raises:
        InputError: a picture cannot be read.
        UnsupportedError: the sizes differ, or the picture is too small for a metric that is named.
    """
    check(locals())
    opened = [comparison.opened(*_file(picture)) for picture in (original, other)]
    (scored,) = comparison.compare(opened[0], opened[1:], metrics).others
    return dict(scored.scores)


def _target(quality: int | None, score: float | str | None, size: int | None, bpp: float | None) -> Target | None:
    values = {"quality": quality, "target": score, "target_size": size, "target_bpp": bpp}
    given = [name for name, value in values.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other. Give one of them.")
    if size is not None:
        return Target(SIZE, size)
    if bpp is not None:
        return Target(BPP, bpp)
    return None if score is None else score_target(str(score))


def _file(picture: Picture) -> tuple[bytes, str]:
    """Bytes of a picture file, and its name for people; pixels become a lossless one."""
    if isinstance(picture, bytes):
        return picture, "the picture"
    if isinstance(picture, Encoded):
        return picture.data, "the picture"
    if isinstance(picture, Pil.Image):
        return _lossless(picture), "the picture"
    if isinstance(picture, np.ndarray):
        return _lossless(_of_array(picture)), "the picture"
    try:
        return Path(picture).read_bytes(), str(picture)
    except TypeError as error:
        raise UsageError(
            f"{type(picture).__name__} is no picture. Give a path, the bytes of a file, a Pillow picture or an array."
        ) from error
    except OSError as error:
        raise InputError(f"{picture} cannot be read: {error.strerror}. Check the path.") from error


def _of_array(pixels: NDArray[Any]) -> Pil.Image:
    grey = pixels.ndim == 2
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))) or not pixels.size:
        raise UsageError(
            f"an array of {pixels.dtype} and shape {pixels.shape} is no picture. Give uint8 of shape (H, W), (H, W, 3) "
            "or (H, W, 4)."
        )
    return Pil.fromarray(np.ascontiguousarray(pixels))


def _lossless(picture: Pil.Image) -> bytes:
    """PNG, or TIFF for CMYK and other modes that PNG lacks, with profile and EXIF, whose orientation is applied."""
    stream, exif, icc = io.BytesIO(), picture.getexif(), picture.info.get("icc_profile")
    extras: dict[str, Any] = {"icc_profile": icc} if icc else {}
    if exif:
        extras["exif"] = exif
    if picture.mode in _PNG_MODES:
        picture.save(stream, "PNG", compress_level=1, **extras)
    else:
        try:
            picture.save(stream, "TIFF", **extras)
        except OSError as error:
            raise UsageError(f"a Pillow picture of mode {picture.mode} is not taken. Convert it to RGB.") from error
    return stream.getvalue()
