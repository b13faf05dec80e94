"""The codecs, and the way back from any file they write."""

from collections.abc import Iterable
from pathlib import Path

from kcompress.codecs import bpg, hevc
from kcompress.codecs.avif import AVIF
from kcompress.codecs.bpg import BPG
from kcompress.codecs.codec import Backend, Codec, Scale
from kcompress.codecs.containers.bpg import MAGIC as _BPG_MAGIC
from kcompress.codecs.hevc import HEVC
from kcompress.codecs.jpeg import JPEG
from kcompress.codecs.webp import WEBP
from kcompress.errors import InputError, UsageError
from kcompress.images import Image, Metadata, apply_metadata_policy, read

__all__ = ["CODECS", "Backend", "Codec", "Scale", "check_settings", "decode"]

CODECS: dict[str, Codec] = {codec.name: codec for codec in (JPEG, WEBP, HEVC, BPG, AVIF)}


def check_settings(path: Path, settings: Iterable[tuple[str, int]]) -> None:
    """Check codecs and qualities that a file of results tells.

    Raises:
        InputError: there is no such codec, or none of its qualities.
    """
    for name, quality in sorted(set(settings)):
        try:
            CODECS[name].setting(quality)
        except (KeyError, UsageError):
            raise InputError(
                f"{path} has rows of {name} {quality}, which no codec here is. Remove them, or give another -o."
            ) from None


def decode(
    data: bytes, name: str = "the picture", metadata: Metadata = "all", frame: int | None = None, *,
    strict: bool = False,
) -> Image:  # fmt: skip
    """Decode what any codec writes, and BPG and HEIC files of other tools, by the path that did not encode it.

    JPEG is read by libjpeg-turbo, WebP by Pillow, AVIF by dav1d inside Pillow, HEIC by libheif, HEVC streams by
    ffmpeg's decoder. ``strict`` is for files from outside: it finds HEVC that ends too early, which decoders do not
    tell, by decoding it twice.

    Raises:
        InputError: corrupt, truncated, or no known format.
        UsageError: a frame that cannot be chosen.
    """
    is_bpg, is_stream = data.startswith(_BPG_MAGIC), data.startswith((b"\0\0\0\1", b"\0\0\1"))
    if frame and (is_bpg or is_stream):
        raise UsageError(f"--frame {frame}: only the first picture of {name} can be decoded. Leave --frame out.")
    if is_bpg:
        return apply_metadata_policy(bpg.decode(data, name, strict=strict), metadata)
    if is_stream:
        return apply_metadata_policy(hevc.decode_raw(data, name, strict=strict), metadata)
    return read(data, name=name, metadata=metadata, frame=frame, strict=strict)
