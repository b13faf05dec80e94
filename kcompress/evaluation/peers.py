"""Peers: free encoders as their own users run them, whose curves stand beside a codec's in a bench."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from typing import Any

from PIL import features

from kcompress.codecs import CODECS, Backend, Codec, Scale
from kcompress.errors import MissingProgramError
from kcompress.images import Image, pillow
from kcompress.setting import Setting

_PERCENT = Scale(finest=100, coarsest=0, default=75)


@dataclass(frozen=True)
class Peer:
    """One encoder without a preprocessor of ours.

    Attributes:
        name: in tables, where others have the name of a preprocessor.
        beside: names of the codecs beside which it stands.
        install: instruction to install it, for people.
        version: of the encoder and what it is told; None where it is not available.
        encode: picture in sRGB, quality -> file.
        takes: whether it can write a picture.
        scale: of its quality.
    """

    name: str
    beside: tuple[str, ...]
    install: str
    version: Callable[[], str | None]
    encode: Callable[[Image, int], bytes]
    takes: Callable[[Image], bool] = lambda image: True
    scale: Scale = _PERCENT


def _backend(name: str, codec: Codec, backend: str, told: str = "", **options: Any) -> Peer:
    """A backend of ours at other options than our defaults."""
    chosen = next(each for each in (*codec.backends, *codec.only_by_name) if each.name == backend)

    def version() -> str | None:
        found = chosen.version()
        return None if found is None else f"{found}{told}"

    return Peer(
        name, (codec.name,), chosen.install, version,
        lambda image, quality: chosen.encode(image, codec.setting(quality, **options)),
        lambda image: chosen.refuses(image) is None,
    )  # fmt: skip


def _constant_qp(quality: int) -> tuple[Backend, Setting]:
    """x265 as bpgenc runs it: at a constant QP, with nothing else changed of its preset."""
    # A QP goes before the rate factor, which every encode names.
    setting = replace(CODECS["bpg"].setting(quality), parameters=(("qp", str(quality)),))
    return CODECS["bpg"].backend(setting=setting), setting


def _constant_qp_version() -> str | None:
    try:
        return f"{_constant_qp(0)[0].version()} --qp"
    except MissingProgramError:
        return None


def _encode_constant_qp(image: Image, quality: int) -> bytes:
    backend, setting = _constant_qp(quality)
    return backend.encode(image, setting)


def _libheif_version() -> str | None:
    from pillow_heif import libheif_info

    info = libheif_info()
    return f"{info['libheif']}, {info['HEIF']}" if info["HEIF"] else None


def _libheif(image: Image, quality: int) -> bytes:
    from pillow_heif import from_pillow

    output = io.BytesIO()
    from_pillow(pillow(image)).save(output, quality=quality)
    return output.getvalue()


def _libavif_version() -> str | None:
    return f"{features.version('avif')} in Pillow {installed('pillow')}" if features.check("avif") else None


def _libavif(image: Image, quality: int) -> bytes:
    output = io.BytesIO()
    pillow(image).save(output, "AVIF", quality=quality)
    return output.getvalue()


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        _backend("libjpeg-turbo", CODECS["jpeg"], "pillow", effort=1),
        _backend("mozjpeg", CODECS["jpeg"], "mozjpeg"),
        _backend("jpegli", CODECS["jpeg"], "jpegli"),
        _backend("cwebp", CODECS["webp"], "cwebp", " -m 6 -sharp_yuv", effort=6, sharp_yuv=True),
        Peer(
            "constant-qp", ("bpg",), CODECS["bpg"].backends[-1].install, _constant_qp_version, _encode_constant_qp,
            scale=CODECS["bpg"].quality,
        ),
        Peer("libheif", ("hevc",), "Reinstall the Python package pillow-heif.", _libheif_version, _libheif),
        Peer(
            "libavif", ("hevc", "bpg", "avif"), "Upgrade the Python package pillow.", _libavif_version, _libavif
        ),
    )
}  # fmt: skip


def peers_of(codec: str, backend: str = "auto") -> tuple[Peer, ...]:
    """Peers beside a codec, but for the one that its plain encoder is."""
    plain = CODECS[codec].backend(backend).version() or ""
    return tuple(peer for peer in PEERS.values() if codec in peer.beside and peer.name not in plain)
