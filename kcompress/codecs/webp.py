"""WebP, lossy: the program ``cwebp``, libwebp in the package ``webp``, or libwebp inside Pillow, which knows less."""

import ctypes
import io
from importlib import import_module
from typing import Any

import numpy as np
import PIL
from PIL import features

from kcompress.codecs.codec import Backend, Codec, Scale
from kcompress.codecs.containers.webp import is_complete, with_metadata
from kcompress.codecs.webp_lossless import WebpLossless, method
from kcompress.errors import ProgramError
from kcompress.images import Image, pillow, pnm
from kcompress.planes import BOX, Planes, from_rgb
from kcompress.programs import CWEBP, package_version
from kcompress.setting import Setting

_FILTER = 7
"""Effort beyond libwebp's methods: it also tries strengths of the loop filter for each of up to four segments."""


class Cwebp(Backend):
    """The program ``cwebp``."""

    name = "cwebp"
    sharp_yuv = True
    takes_planes = True
    install = CWEBP.install

    def version(self) -> str | None:
        return CWEBP.version()

    def encode(self, image: Image, setting: Setting) -> bytes:
        told = ["-quiet", "-q", str(setting.quality), "-m", str(method(setting.effort))]
        told += ["-af"] if setting.effort == _FILTER else []
        told += ["-sharp_yuv"] if setting.sharp_yuv else []
        planes = _planes(image, setting)
        if planes is None:
            return CWEBP.run([*told, "-o", "-", "--", "-"], *pnm(image))
        told += ["-s", str(image.width), str(image.height)]
        return CWEBP.run([*told, "-o", "-", "--", "-"], *planes.pieces)


class Libwebp(Backend):
    """libwebp inside the package ``webp``: the same bytes as cwebp without sharp chroma of its own."""

    name = "libwebp"
    takes_planes = True
    install = "Reinstall the Python package webp."

    def version(self) -> str | None:
        return package_version("webp")

    def encode(self, image: Image, setting: Setting) -> bytes:
        webp = import_module("webp")
        config = webp.WebPConfig.new(quality=setting.quality, method=method(setting.effort))
        config.ptr.autofilter = setting.effort == _FILTER
        planes = _planes(image, setting)
        if planes is not None:
            picture = _picture(planes)
        else:
            stacked = image.pixels if image.alpha is None else np.dstack([image.pixels, image.alpha])
            picture = webp.WebPPicture.from_numpy(np.ascontiguousarray(stacked))
        try:
            return bytes(picture.encode(config).buffer())
        except webp.WebPError as error:
            raise ProgramError(f"libwebp: {error}. Try another --backend.") from error


class PillowWebp(Backend):
    """libwebp inside Pillow: the same bytes as cwebp up to effort 6 without sharp chroma."""

    name = "pillow"
    install = "Reinstall the Python package pillow."

    def version(self) -> str | None:
        return f"Pillow {PIL.__version__}, libwebp {features.version_module('webp')}"

    def encode(self, image: Image, setting: Setting) -> bytes:
        output = io.BytesIO()
        pillow(image).save(output, "WEBP", quality=setting.quality, method=method(setting.effort))
        return output.getvalue()


def _planes(image: Image, setting: Setting) -> Planes | None:
    """Planes as VP8 has them, of levels that a preprocessor made; None where libwebp is to convert pixels itself.

    That removes colour where nothing is seen of it, and averages it in linear light.
    """
    if image.remainder is None or image.alpha is not None or not setting.planes:
        return None
    return from_rgb(image.pixels, "420", BOX, remainder=image.remainder, full_range=False)


class _Head(ctypes.Structure):
    """Beginning of the public ``WebPPicture`` of libwebp's encode.h: the package ``webp`` gives no access to planes."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("use_argb", "colorspace", "width", "height")),
        *((name, ctypes.POINTER(ctypes.c_uint8)) for name in ("y", "u", "v")),
        *((name, ctypes.c_int) for name in ("y_stride", "uv_stride")),
    )


def _picture(planes: Planes) -> Any:
    """A picture of the package ``webp`` that holds these planes.

    Raises:
        ProgramError: no memory.
    """
    webp = import_module("webp")
    height, width = planes.luma.shape
    picture = webp.WebPPicture(webp.ffi.new("WebPPicture *"))
    webp.lib.WebPPictureInit(picture.ptr)
    picture.ptr.use_argb, picture.ptr.width, picture.ptr.height = 0, width, height
    if not webp.lib.WebPPictureAlloc(picture.ptr):
        raise ProgramError(f"libwebp has no memory for {width}x{height} pixels. Make the picture smaller.")
    head = _Head.from_address(int(webp.ffi.cast("uintptr_t", picture.ptr)))
    strides = head.y_stride, head.uv_stride, head.uv_stride
    for start, stride, plane in zip((head.y, head.u, head.v), strides, planes.all, strict=True):
        rows, columns = plane.shape
        np.ctypeslib.as_array(start, (rows, stride))[:, :columns] = plane
    return picture


def _metadata(data: bytes, image: Image) -> tuple[bytes, list[str]]:
    return with_metadata(data, image.width, image.height, image.icc, image.exif, image.xmp), []


WEBP = Codec(
    name="webp",
    suffixes=(".webp",),
    quality=Scale(finest=100, coarsest=0, default=75),
    quick_effort=3,
    # 6 against 4: 4 % fewer bytes at equal scores in twice the time. 7: 1 to 2 % fewer in three times that of 6.
    effort=Scale(finest=0, coarsest=_FILTER, default=_FILTER),
    plain_effort=6,
    chromas=("420",),
    sharp_yuv=False,  # 3 % fewer bytes at equal SSIMULACRA2, 4 % more at equal IW-SSIM, and Pillow has none
    max_side=16383,
    alpha=True,
    grey=False,
    backends=(Cwebp(), Libwebp(), PillowWebp()),
    is_complete=is_complete,
    add_metadata=_metadata,
    lossless=WebpLossless(),
)
