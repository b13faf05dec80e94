"""BPG: the program ``bpgenc``, or x265 with our own container."""

from dataclasses import replace

import numpy as np

from kcompress.codecs import x265
from kcompress.codecs.codec import Backend, Codec, Scale
from kcompress.codecs.containers import bpg as container
from kcompress.codecs.containers.bpg import EXIF, ICC, XMP, Bpg
from kcompress.codecs.x265 import STREAM_ENCODERS, X265Backend
from kcompress.errors import InputError, ProgramError
from kcompress.images import Image, Pixels, write
from kcompress.planes import LIBBPG, Planes, grey_planes, to_rgb
from kcompress.programs import BPGENC, scratch_folder
from kcompress.setting import Setting


class Bpgenc(Backend):
    """The original encoder."""

    name = "bpgenc"
    install = BPGENC.install
    takes_parameters = False
    bits = (8, 10)

    def version(self) -> str | None:
        return BPGENC.version()

    def cannot(self, setting: Setting) -> str | None:
        changed = setting.parameters not in ((), BPG.setting().parameters)
        return f"--param: the backend {self.name} has no parameters" if changed else super().cannot(setting)

    def refuses(self, image: Image) -> str | None:
        # bpgenc 0.9.8 crashes where the padded width is below 32.
        return f"cannot take pictures narrower than 25 pixels (this has {image.width})" if image.width < 25 else None

    def encode(self, image: Image, setting: Setting) -> bytes:
        with scratch_folder() as folder:
            source, target = folder / "picture.png", folder / "picture.bpg"
            source.write_bytes(write(replace(image, icc=None, exif=None, xmp=None), "PNG"))
            arguments = ["-q", str(setting.quality), "-f", setting.chroma, "-m", str(setting.effort)]
            arguments += [] if setting.bits == 8 else ["-b", str(setting.bits)]
            BPGENC.run([*arguments, "-o", str(target), str(source)])
            try:
                written = container.demux(target.read_bytes(), "what bpgenc wrote")
                for stream in filter(None, (written.picture, written.extra)):
                    x265.decode(stream, strict=True)  # bpgenc tells no length by which a cut file is found
            except (OSError, InputError) as error:
                raise ProgramError("bpgenc ended well but wrote no whole BPG file. Try another --backend.") from error
        # Written once more: with our metadata, and with the length that bpgenc leaves out.
        return container.mux(replace(written, extensions=_extensions(image)))


# bpgenc codes an intra picture three steps finer than it is told.
_QUALITIES, _RATE_FACTORS = (0, 12, 18, 24, 42, 51), (0, 13.1, 18.6, 24.5, 42.4, 51)


def rate_factor(quality: int) -> float:
    """CRF at which photographs are on average as good, by SSIMULACRA2, as bpgenc's way of coding makes them."""
    return float(np.interp(quality, _QUALITIES, _RATE_FACTORS))


class BpgBackend(X265Backend):
    """x265 by one of the ways to reach it, in our own container."""

    def encode(self, image: Image, setting: Setting) -> bytes:
        planes = x265.planes_of(image, setting, LIBBPG)
        image = image.without_pixels
        bpg = Bpg(image.width, image.height, planes.sampling, self._stream(planes, setting), bits=setting.bits)
        if image.alpha is not None:
            bpg = replace(bpg, extra=self._stream(grey_planes(image.alpha, setting.bits), setting))
        return container.mux(replace(bpg, extensions=_extensions(image)))

    def _stream(self, planes: Planes, setting: Setting) -> bytes:
        return x265.encode(self._encoder, planes, rate_factor(setting.quality), setting.effort, setting.parameters)


def decode(data: bytes, name: str, *, strict: bool = False) -> Image:
    """The (first) picture of a BPG file, as libbpg's bpgdec gives it.

    Raises:
        InputError: it is broken or cut short.
    """
    bpg = container.demux(data, name)
    planes = x265.cut(x265.decode(bpg.picture, name, strict=strict), bpg.width, bpg.height)
    planes = replace(planes, matrix=bpg.matrix, full_range=bpg.full_range, siting=bpg.siting)
    pixels, alpha = to_rgb(planes), None
    if bpg.extra is not None:
        extra = x265.cut(x265.decode(bpg.extra, name, strict=strict), bpg.width, bpg.height)
        plane = to_rgb(replace(extra, full_range=True))[:, :, 0]
        if bpg.extra_kind == "white":
            pixels = ((pixels.astype(np.uint32) * plane[:, :, None] + 128) >> 8).astype(np.uint8)
        else:
            alpha = plane
        if bpg.extra_kind == "premultiplied":
            pixels = _divided(pixels, plane)
    notes = ("only the first picture of the animation was decoded",) if bpg.animated else ()
    icc, exif, xmp = (bpg.extension(tag) for tag in (ICC, EXIF, XMP))
    return Image(pixels, alpha, bpg.sampling == "400", icc, exif, xmp, notes=notes)


def _divided(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Straight colours of premultiplied ones; white where nothing is seen."""
    weight = np.maximum(alpha, 1)[:, :, None].astype(np.float64)
    straight: Pixels = np.minimum(255, np.floor(pixels * 255 / weight + 0.5)).astype(np.uint8)
    straight[alpha == 0] = 255
    return straight


def _extensions(image: Image) -> tuple[tuple[int, bytes], ...]:
    found = ((EXIF, image.exif), (ICC, image.icc), (XMP, image.xmp))
    return tuple((tag, content) for tag, content in found if content is not None)


PARAMETERS = {
    **{name: parameter for name, parameter in x265.PARAMETERS.items() if name != "scaling-list"},
    **{
        name: replace(x265.PARAMETERS[name], default=default)
        for name, default in {
            # Measured behind feedback against constant QP, which bpgenc has: mode 1, or more of mode 2, loses over 1 %
            # by VMAF-NEG, and so does colour that is two steps finer by VIF.
            "aq-mode": "2",
            "aq-strength": "0.5",
            "psy-rdoq": "0",
        }.items()
    },
}
"""Those of HEVC without scaling lists, for which BPG's header has no place."""

BPG = Codec(
    name="bpg",
    suffixes=(".bpg",),
    quality=Scale(finest=0, coarsest=51, default=29),
    quick_effort=3,
    effort=Scale(finest=1, coarsest=9, default=8),  # bpgenc's -m: x265's presets from superfast to placebo
    chromas=("420", "444"),
    bits=(8, 10),
    parameters=PARAMETERS,
    max_side=16384,
    alpha=True,
    backends=(Bpgenc(), *(BpgBackend(encoder) for encoder in STREAM_ENCODERS)),
    kin="hevc",
)
