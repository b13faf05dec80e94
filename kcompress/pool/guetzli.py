"""Guetzli as a filter: perceptually guided JPEG, decoded again (Alakuijala et al., arXiv 1703.04421)."""

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kcompress import storage
from kcompress.errors import InputError, ProgramError, ProgramTimeoutError
from kcompress.images import Image, Pixels, read, write
from kcompress.programs import GUETZLI, scratch_folder

LOWEST_QUALITY = 84
"""Lowest quality that Guetzli accepts."""


@dataclass(frozen=True)
class GuetzliLimits:
    """Limits of Guetzli, which is slow and needs much memory.

    Attributes:
        seconds: for one picture.
        megabytes: of memory for one picture; it needs about 300 a megapixel.
        jobs: pictures at a time on one machine, whatever the number of workers.
        cache: folder that keeps its results from run to run; None for no cache.
    """

    seconds: float = 600
    megabytes: int = 6000
    jobs: int = 1
    cache: Path | None = None


def guetzli(pixels: Pixels, limits: GuetzliLimits, quality: float = 95) -> Pixels:
    """Encode with Guetzli, at its quality 84..100, and decode again: (H, W, 3) RGB 0..255 -> the same.

    Raises:
        MissingProgramError: the program is not installed.
        ProgramTimeoutError: it took too long.
        ProgramError: it failed, for example by too little memory.
        OutputError: the cache cannot be written.
    """
    kept = limits.cache and limits.cache / f"{_key(pixels, quality)}.jpg"
    if kept and kept.is_file():
        return read(kept.read_bytes(), name=str(kept)).pixels
    with scratch_folder() as folder, _turn(limits.jobs):
        source, target = folder / "picture.png", folder / "picture.jpg"
        source.write_bytes(write(Image(pixels), "PNG"))
        arguments = ["--quality", f"{quality:g}", "--memlimit", str(limits.megabytes), str(source), str(target)]
        try:
            GUETZLI.run(arguments, seconds=limits.seconds)
        except ProgramTimeoutError as error:
            raise ProgramTimeoutError(
                f"guetzli was stopped after {limits.seconds:g} seconds. "
                "Take smaller pictures, or give --guetzli-seconds more."
            ) from error
        try:
            data = target.read_bytes()
            decoded = read(data, name=str(target)).pixels
        except (OSError, InputError) as error:
            raise ProgramError("guetzli ended well but wrote no whole JPEG file. Reinstall it.") from error
    if kept:
        storage.write(str(kept), data)
    return decoded


def _key(pixels: Pixels, quality: float) -> str:
    digest = hashlib.sha256(repr((pixels.shape, float(quality), GUETZLI.version())).encode())
    digest.update(pixels.tobytes())
    return f"guetzli-{digest.hexdigest()[:40]}"


@contextmanager
def _turn(jobs: int) -> Iterator[None]:
    """Wait for one of ``jobs`` places on this machine; a worker that is killed frees its place."""
    user = os.getuid() if hasattr(os, "getuid") else "all"
    folder = Path(tempfile.gettempdir()) / f"kcompress-guetzli-{user}"
    folder.mkdir(exist_ok=True)
    for number in itertools.cycle(range(jobs)):
        lock = FileLock(folder / f"{number}.lock")
        try:
            lock.acquire(timeout=0.2 / jobs)
        except Timeout:
            continue
        try:
            yield
        finally:
            lock.release()
        return
