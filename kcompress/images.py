"""Image: what travels between the files, the networks and the codecs; reading and writing pictures."""

import io
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from kcompress.errors import InputError, UnsupportedError, UsageError

Pixels = NDArray[np.uint8]
Metadata = Literal["icc", "all", "none"]

MAX_PIXELS = 1 << 28
"""Largest picture that is read, in pixels (268 megapixels); ``KCOMPRESS_MAX_PIXELS`` overrides it."""

SUFFIXES = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
    ]
)
"""Suffixes by which pictures are picked out of a folder."""

_FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"]
_ORIENTATION = 0x0112
# What brings each EXIF orientation upright.
_TURNS = {
    2: Pil.Transpose.FLIP_LEFT_RIGHT,
    3: Pil.Transpose.ROTATE_180,
    4: Pil.Transpose.FLIP_TOP_BOTTOM,
    5: Pil.Transpose.TRANSPOSE,
    6: Pil.Transpose.ROTATE_270,
    7: Pil.Transpose.TRANSVERSE,
    8: Pil.Transpose.ROTATE_90,
}
_WHOLE_COPY = "It may be corrupt or truncated: get a whole copy."
# The size is checked here, with one limit and one message, for every format alike.
Pil.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Image:
    r"""A picture of 8 bits a sample, upright, with what belongs to it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB; in the colour space of ``icc``, or sRGB where there is none.
        alpha: (H, W) uint8, straight (not premultiplied), or None for opaque.
        grey: the picture has no colour: its three channels are equal, and it is to stay so.
        icc: ICC profile.
        exif: EXIF as TIFF data, without the ``Exif\0\0`` prefix.
        xmp: XMP packet.
        notes: what was changed on the way in and the user should know.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    def noted(self, note: str) -> "Image":
        """The same picture with one more note."""
        return replace(self, notes=(*self.notes, note))

    def with_pixels(self, pixels: Pixels) -> "Image":
        """The same picture with other pixels (H, W, 3); a grey picture stays grey."""
        if self.grey:
            pixels = np.repeat(luma(pixels)[:, :, None], 3, axis=2)
        return replace(self, pixels=pixels)

    def in_srgb(self) -> "Image":
        """The same colours without a profile: pixels converted to sRGB through it.

        Raises:
            InputError: the profile is broken.
        """
        if self.icc is None:
            return self
        source = _pil(self.pixels[:, :, 0] if is_grey_profile(self.icc) else self.pixels)
        converted = np.asarray(_to_srgb(source, ImageCms.ImageCmsProfile(io.BytesIO(self.icc))))
        return replace(self.with_pixels(converted), icc=None)

    def on(self, colour: tuple[int, int, int]) -> "Image":
        """Flattened over a background colour (R, G, B), each 0..255."""
        if self.alpha is None:
            return self
        result = np.empty_like(self.pixels)
        for top in range(0, self.height, 256):  # in strips: a float copy of a large picture is large
            rows = slice(top, top + 256)
            weight = self.alpha[rows, :, None].astype(np.float32) / 255
            mixed = self.pixels[rows] * weight + np.asarray(colour, dtype=np.float32) * (1 - weight)
            result[rows] = np.rint(mixed)
        grey = self.grey and len(set(colour)) == 1
        return replace(self, pixels=result, alpha=None, grey=grey)


def bits_per_pixel(size: int, width: int, height: int) -> float:
    """Of a file of ``size`` bytes that holds a picture of ``width`` x ``height`` pixels."""
    return 8 * size / (width * height)


def luma(pixels: Pixels) -> Pixels:
    """BT.601 luma (H, W) uint8 of RGB pixels (H, W, 3); equal channels give themselves exactly."""
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)  # of 65536
    result = np.empty(pixels.shape[:2], dtype=np.uint8)
    for top in range(0, pixels.shape[0], 256):
        rows = slice(top, top + 256)
        result[rows] = (pixels[rows].astype(np.uint32) @ weights + 32768) >> 16
    return result


def read(
    data: bytes,
    *,
    name: str = "the picture",
    frame: int | None = None,
    metadata: Metadata = "icc",
    background: tuple[int, int, int] | None = None,
    check_sides: Callable[[int, int], None] | None = None,
) -> Image:
    """Decode a picture file: PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, HEIC or AVIF.

    EXIF orientation is applied; CMYK is converted through its profile; 16 bits become 8.

    Args:
        data: the file.
        name: how messages call it.
        frame: which picture of an animation or of several pages, from 0; None refuses those.
        metadata: ``icc`` keeps the profile, ``all`` EXIF and XMP too, ``none`` converts to sRGB and keeps nothing.
        background: flatten transparency over this colour.
        check_sides: called with width and height before any pixel is decoded; may raise.

    Raises:
        InputError: not a picture, corrupt, truncated, or more than ``MAX_PIXELS``.
        UnsupportedError: an animation without ``frame``, or a kind of pixels that has no 8-bit form.
        UsageError: no such frame.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes). Give a picture file.")
    with _open(data, name) as file:
        check_size(file.width, file.height, name)
        if check_sides is not None:
            check_sides(file.width, file.height)
        _select(file, frame, name)
        image = _decoded(data, file, name)
    image = keeping(image, metadata, name)
    if background is not None:
        image = image.on(background)
    if image.alpha is not None and int(image.alpha.min()) == 255:
        image = replace(image, alpha=None).noted("its alpha channel is opaque everywhere and was dropped")
    return image


def comparable(data: bytes, name: str) -> Image:
    """A picture as codecs are compared on it: sRGB, no alpha (over white), no metadata that would count as bytes.

    Raises:
        InputError: corrupt, truncated, or no known format.
    """
    return replace(read(data, name=name, metadata="none", background=(255, 255, 255)), notes=())


def keeping(image: Image, metadata: Metadata, name: str = "the picture") -> Image:
    """The picture with only the metadata asked for; without a profile, its colours become sRGB.

    Raises:
        InputError: the profile is broken.
    """
    if metadata == "all":
        return image
    image = replace(image, exif=None, xmp=None)
    if metadata == "icc":
        return image
    converted: Image = _guarded(
        image.in_srgb, name, "has an ICC profile that cannot be used", "Keep it with --metadata icc."
    )
    return converted


def write(image: Image, format: Literal["PNG", "PPM", "TIFF", "BMP"]) -> bytes:
    """Encode a picture without loss, with profile, EXIF and XMP where the format has room for them."""
    stacked = image.pixels[:, :, 0] if image.grey else image.pixels
    if image.alpha is not None and format not in ("PPM", "BMP"):
        stacked = np.dstack([stacked, image.alpha])
    extras: dict[str, Any] = {}
    if format in ("PNG", "TIFF"):
        found = {"icc_profile": image.icc, "exif": image.exif}
        extras = {key: value for key, value in found.items() if value is not None}
    if format == "PNG" and image.xmp is not None:
        extras["pnginfo"] = PngInfo()
        extras["pnginfo"].add_itxt("XML:com.adobe.xmp", image.xmp.decode(errors="replace"))
    output = io.BytesIO()
    _pil(stacked).save(output, format, **extras)
    return output.getvalue()


def pnm(image: Image) -> bytes:
    """Binary PNM, the common input language of encoders: PGM for grey, PAM with alpha, PPM otherwise."""
    if image.alpha is not None:
        head = f"P7\nWIDTH {image.width}\nHEIGHT {image.height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
        return b"".join([head.encode(), np.dstack([image.pixels, image.alpha]).data])
    kind, samples = ("P5", image.pixels[:, :, 0]) if image.grey else ("P6", image.pixels)
    return b"".join([f"{kind}\n{image.width} {image.height}\n255\n".encode(), np.ascontiguousarray(samples).data])


def pillow(image: Image) -> Pil.Image:
    """As a Pillow picture of mode L, RGB or, with alpha, RGBA (whose grey is three equal channels)."""
    if image.alpha is not None:
        return _pil(np.dstack([image.pixels, image.alpha]))
    return _pil(image.pixels[:, :, 0] if image.grey else image.pixels)


def is_grey_profile(icc: bytes) -> bool:
    """Whether an ICC profile describes grey samples (data colour space, bytes 16 to 19 of its header)."""
    return icc[16:20] == b"GRAY"


def _pil(samples: Pixels) -> Pil.Image:
    return Pil.fromarray(np.ascontiguousarray(samples))


def _guarded(work: Callable[[], Any], name: str, complaint: str, advice: str = _WHOLE_COPY) -> Any:
    try:
        return work()
    # The boundary to decoders of foreign bytes: a broken file makes them raise nearly anything.
    except Exception as error:
        unknown = isinstance(error, UnidentifiedImageError)  # whose text is an address in memory
        reason = "no format that is known" if unknown else str(error).strip() or type(error).__name__
        raise InputError(f"{name} {complaint} ({reason.rstrip('.')}). {advice}") from error


def _open(data: bytes, name: str) -> Pil.Image:
    Pil.init()  # Pillow registers the rarer formats only when all others have failed, or when asked
    formats = list(_FORMATS)
    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        import pillow_heif  # only where it is needed: start-up time

        pillow_heif.register_heif_opener(thumbnails=False)
        formats = ["HEIF"]
    advice = "Give a whole PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, HEIC or AVIF file."
    file: Pil.Image = _guarded(
        lambda: Pil.open(io.BytesIO(data), formats=formats), name, "cannot be read as a picture", advice
    )
    return file


def max_pixels() -> int:
    """The limit on a picture's size in force, in pixels."""
    try:
        return int(os.environ["KCOMPRESS_MAX_PIXELS"])
    except (KeyError, ValueError):
        return MAX_PIXELS


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture before memory is taken for it.

    Raises:
        InputError: it has more pixels than the limit.
    """
    if width * height > max_pixels():
        raise InputError(
            f"{name} has {width}x{height} pixels, more than the {max_pixels():,} that are read. "
            "If you trust it, set KCOMPRESS_MAX_PIXELS to a larger number."
        )


def _select(file: Pil.Image, frame: int | None, name: str) -> None:
    # A phone's MPO and a HEIC hold one picture with companions (depth, a second view), not a sequence.
    alone = file.format in ("MPO", "HEIF")
    frames = 1 if alone else int(_guarded(lambda: getattr(file, "n_frames", 1), name, "has pages that cannot be read"))
    if frame is None and frames > 1:
        raise UnsupportedError(f"{name} holds {frames} pictures. Choose one with --frame 0..{frames - 1}.")
    if frame is not None:
        if not 0 <= frame < frames:
            raise UsageError(f"--frame {frame}: {name} holds {frames}. Allowed: 0..{frames - 1}.")
        if frame:
            _guarded(lambda: file.seek(frame), name, f"has a frame {frame} that cannot be read")


def _decoded(data: bytes, file: Pil.Image, name: str) -> Image:
    complaint = "cannot be decoded"
    _guarded(file.load, name, complaint)
    orientation = _guarded(lambda: file.getexif().get(_ORIENTATION, 1), name, complaint)
    icc: bytes | None = file.info.get("icc_profile") or None
    exif, xmp = _exif(file, orientation), _xmp(file)
    # Not by ImageOps.exif_transpose: it writes the EXIF anew, and fails at what it cannot write.
    turn = _TURNS.get(orientation)
    upright: Pil.Image = file if turn is None else file.transpose(turn)
    if file.format == "PNG" and data[25] == 4 and upright.mode == "RGBA":
        upright = upright.convert("LA")  # grey with alpha, of which Pillow makes colour at 16 bits
    notes: list[str] = []
    if _bits(data, file) > 8:
        notes.append("its samples of more than 8 bits became 8 bits")
        if upright.mode == "RGB" and upright.info.pop("transparency", None) is not None:
            notes.append("its transparent colour cannot be told from others in 8 bits, and was ignored")
    if upright.mode in ("CMYK", "LAB"):
        upright, note = _guarded(
            lambda: _from_print(upright, icc), name, "has a colour profile that cannot be used", "Convert it to RGB."
        )
        notes.append(note)
        icc = None
    samples = _guarded(lambda: _samples(upright), name, complaint)
    if samples is None:
        raise UnsupportedError(
            f"{name} holds samples of the kind {upright.mode}, which have no 8-bit form. Convert it to 8 or 16 bits."
        )
    grey = samples.ndim == 2 or samples.shape[2] == 2
    if samples.ndim == 2:
        samples = samples[:, :, None]
    alpha = np.ascontiguousarray(samples[:, :, -1]) if samples.shape[2] in (2, 4) else None
    pixels = np.repeat(samples[:, :, :1], 3, axis=2) if grey else np.ascontiguousarray(samples[:, :, :3])
    if icc is not None and is_grey_profile(icc) != grey:
        # A profile for another number of channels describes nothing in this picture (palettes have it).
        notes.append("its ICC profile is for another kind of picture and was dropped")
        icc = None
    return Image(pixels, alpha, grey, icc, exif, xmp, tuple(notes))


def _samples(file: Pil.Image) -> Pixels | None:
    """Samples (H, W) grey, (H, W, 2) grey + alpha, (H, W, 3) or (H, W, 4); None for what has no 8-bit form."""
    if file.mode.startswith("I"):
        # 16-bit grey; full white must stay full white, so the range is scaled, not shifted.
        wide = np.asarray(file).astype(np.uint32)
        if int(wide.max()) > 65535:
            return None
        grey: Pixels = ((wide * 255 + 32767) // 65535).astype(np.uint8)
        clear = file.info.get("transparency")  # a PNG may name one level that is not seen
        return grey if clear is None else np.dstack([grey, np.where(wide == clear, 0, 255).astype(np.uint8)])
    if file.mode == "F":
        return None
    if file.mode in ("LA", "La"):
        return np.asarray(file.convert("LA"))
    if file.has_transparency_data:
        rgba = np.asarray(file.convert("RGBA"))
        return rgba[:, :, 2:] if file.mode in ("1", "L") else rgba
    if file.mode in ("1", "L"):
        return np.asarray(file.convert("L"))
    if file.mode == "P" and "icc_profile" not in file.info:
        rgb = np.asarray(file.convert("RGB"))
        colours = np.asarray(file.getpalette("RGB") or [0, 0, 0], dtype=np.uint8).reshape(-1, 3)
        # A GIF of grey levels is a grey picture.
        return rgb[:, :, 0] if bool((colours == colours[:, :1]).all()) else rgb
    # convert() copies even what is RGB already, and a large picture is large.
    return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))


def _from_print(file: Pil.Image, icc: bytes | None) -> tuple[Pil.Image, str]:
    """CMYK or L*a*b* as sRGB, with a note that says how."""
    if file.mode == "LAB":
        return _to_srgb(file, ImageCms.createProfile("LAB")), "L*a*b* became sRGB"
    if icc is None:
        return file.convert("RGB"), "CMYK without a profile became RGB by the plain formula; colours may be off"
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return _to_srgb(file, profile), "CMYK became sRGB through its profile"


def _to_srgb(file: Pil.Image, profile: Any) -> Pil.Image:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(file, profile, srgb, renderingIntent=intent, outputMode="RGB", flags=flags)
    if converted is None:
        raise ValueError("the colour conversion gave nothing")
    return converted


def _bits(data: bytes, file: Pil.Image) -> int:
    """Bits a sample in the file; Pillow itself gives 8 without a word."""
    if file.mode.startswith("I"):
        return 16
    if file.format == "PNG":
        return data[24]
    if file.format == "TIFF":
        bits = getattr(file, "tag_v2", {}).get(258, 8)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if file.format == "HEIF":
        return int(file.info.get("bit_depth", 8))
    if file.format == "PPM":
        header = re.match(rb"P[56]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+(\d+)\s", data[:512])
        return 16 if header and int(header.group(1)) > 255 else 8
    if file.format == "AVIF":
        properties = data[:4096].partition(b"pixi")[2]  # full box: version, flags, channel count, bits each
        return properties[5] if len(properties) > 5 else 8
    return 8


def _exif(file: Pil.Image, orientation: int) -> bytes | None:
    """The file's own EXIF bytes, with the orientation (now applied) set to 1 in place: nothing else is touched."""
    raw = file.info.get("exif")
    if raw is None and file.format == "TIFF":
        return None  # a TIFF's EXIF is scattered over the file; there is no block to carry
    if not isinstance(raw, bytes) or not raw:
        return None
    raw = raw.removeprefix(b"Exif\0\0")
    if orientation == 1 or len(raw) < 8 or raw[:2] not in (b"II", b"MM"):
        return raw
    order = "<" if raw[:2] == b"II" else ">"
    patched = bytearray(raw)
    try:
        (start,) = struct.unpack_from(order + "I", raw, 4)
        (entries,) = struct.unpack_from(order + "H", raw, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            if struct.unpack_from(order + "H", raw, entry)[0] == _ORIENTATION:
                struct.pack_into(order + "H", patched, entry + 8, 1)
    except struct.error:
        return None  # an EXIF block that cannot be walked would turn the picture a second time
    return bytes(patched)


def _xmp(file: Pil.Image) -> bytes | None:
    raw = file.info.get("xmp") or file.info.get("XML:com.adobe.xmp")
    if isinstance(raw, str):
        raw = raw.encode()
    if not isinstance(raw, bytes):
        return None
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", raw)
