"""Mutants of ten formats through ``decode`` and ``encode``: no traceback, no hang, no flood of memory.

``python tests/benchmarks/fuzz.py [--mutants 5000] [--seed 0] [--jobs 2] [--keep FOLDER]``

Each format gives as many mutants, each of which is decoded and encoded in a process that has limits on memory and
time, and ends well by giving a picture or an error that `kcompress.errors` foresees. Mutants are drawn by the seed
alone. ``--keep`` leaves those that did not end well. ``--headers 20000`` mutates the headers of HEVC and BPG instead,
which are read without decoding anything: 2 seconds and 500 MB are then the limits.
"""

import argparse
import collections
import io
import multiprocessing
import os
import random
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pil

TESTS = Path(__file__).parent.parent
SECONDS, MEGABYTES = 20.0, 2000
HEADER_SECONDS, HEADER_MEGABYTES = 2.0, 500


@dataclass(frozen=True)
class Ended:
    """How one mutant ended.

    Attributes:
        format: of its parent.
        number: by which it is drawn.
        how: ``picture``, ``refused``, or what went wrong.
        seconds: that it took.
        megabytes: at most, of the process and the program it ran.
        detail: the traceback, where there is one.
    """

    format: str
    number: int
    how: str
    seconds: float
    megabytes: float
    detail: str = ""


def parents() -> dict[str, bytes]:
    """One small file of each format, with what real ones have: profile, EXIF, alpha where there may be some."""
    sys.path.insert(0, str(TESTS))
    from pictures import smooth

    from kcompress.codecs import CODECS
    from kcompress.encoding import encode
    from kcompress.images import Image

    pixels = smooth(72, 56)
    alpha = np.ascontiguousarray(np.broadcast_to(np.linspace(0, 255, 72).astype(np.uint8), (56, 72)))
    found: dict[str, bytes] = {}
    for name, options in {
        "PNG": {}, "JPEG": {"progressive": True}, "WEBP": {}, "TIFF": {"compression": "tiff_lzw"}, "BMP": {},
        "GIF": {}, "PPM": {}, "AVIF": {"speed": 9},
    }.items():  # fmt: skip
        stream = io.BytesIO()
        exif = Pil.Exif()
        exif[0x0112] = 6
        Pil.fromarray(pixels).save(
            stream, name, **options, **({"exif": exif} if name in ("JPEG", "PNG", "AVIF") else {})
        )
        found[name.lower()] = stream.getvalue()
    for name, codec, raw, picture in (
        ("heic", "hevc", False, Image(pixels, alpha)), ("bpg", "bpg", False, Image(pixels, alpha)),
        ("avif by ffmpeg", "avif", False, Image(pixels, alpha)),
        ("hevc", "hevc", True, Image(pixels)),
    ):  # fmt: skip
        chosen = CODECS[codec]
        found[name] = encode(picture, chosen, chosen.setting(effort=chosen.effort.finest, raw=raw), None, "ffmpeg").data
    return found


def mutant(parent: bytes, draw: random.Random, *, within: int | None = None) -> bytes:
    """A file with a few changes: bits, bytes, numbers that matter, parts that are cut, doubled or moved."""
    data = bytearray(parent)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        # Headers, which say how much there is, are tried as often as all the rest.
        end = min(len(data), within or draw.choice((64, 512, len(data))))
        if not end:
            break
        place, length = draw.randrange(end), draw.choice((1, 2, 4, 8, 32))
        match draw.randrange(8):
            case 0:
                data[place] ^= 1 << draw.randrange(8)
            case 1:
                data[place] = draw.choice((0, 1, 127, 128, 254, 255))
            case 2 | 3:
                value = draw.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, draw.getrandbits(32)))
                size = draw.choice((2, 4))
                data[place : place + size] = (value & (1 << 8 * size) - 1).to_bytes(
                    size, draw.choice(("big", "little"))
                )
            case 4:
                data[place : place + length] = draw.randbytes(length)
            case 5:
                del data[place : place + length]
            case 6:
                data[place:place] = data[place : place + length] * draw.choice((1, 2, 50))
            case 7:
                if within is None and draw.random() < 0.3:
                    del data[place:]
                else:
                    data[place : place + length] = bytes(length)
    return bytes(data)


def tried(job: tuple[str, bytes, int, int, str | None]) -> Ended:
    """One mutant, decoded and, if that gave a picture, encoded."""
    from kcompress.codecs import CODECS, decode
    from kcompress.encoding import encode
    from kcompress.errors import KcompressError, UnsupportedError
    from kcompress.images import read

    name, parent, number, seed, keep = job
    data = mutant(parent, random.Random(f"{seed} {name} {number}"))
    start, how, detail = time.perf_counter(), "refused", ""
    watch = threading.Timer(3 * SECONDS, lambda: os._exit(77))  # a hang inside a library
    watch.daemon = True
    watch.start()
    try:
        for reader in (lambda: decode(data, name, strict=True), lambda: read(data, name=name, frame=0)):
            try:
                image = reader()
            except KcompressError as error:
                if not str(error).endswith("."):
                    how, detail = "message", str(error)
                continue
            codec = CODECS[("jpeg", "webp")[number % 2]]
            try:
                encode(image.flattened((255, 255, 255)), codec, codec.setting(), None, "pillow")
            except UnsupportedError:
                continue
            how = "picture"
    except MemoryError:
        how = "memory"
    except BaseException:
        how, detail = "traceback", traceback.format_exc()
    finally:
        watch.cancel()
    seconds = time.perf_counter() - start
    megabytes = _megabytes()
    if seconds > SECONDS:
        how = "slow"
    if megabytes > MEGABYTES:
        how = "memory"
    if keep and how not in ("picture", "refused"):
        Path(keep, f"{how}-{number}.{name}").write_bytes(data)
    return Ended(name, number, how, seconds, megabytes, detail)


def header(job: tuple[str, bytes, int, int, str | None]) -> Ended:
    """One mutant whose header alone is read."""
    from kcompress.bitstream import annexb
    from kcompress.bitstream.sps import parse_sps
    from kcompress.codecs.containers import bpg
    from kcompress.errors import KcompressError
    from kcompress.images import coded, heif

    name, parent, number, seed, keep = job
    data = mutant(
        parent, random.Random(f"{seed} header {name} {number}"), within=160 if name in ("bpg", "hevc") else 600
    )
    start, how, detail = time.perf_counter(), "refused", ""
    try:
        if name == "bpg":
            stream = bpg.demux(data).picture
        else:
            still = heif.parse(data)
            if still is not None:
                coded.check_sizes(still, name)
            stream = b"" if still is not None else data
        if stream:
            parse_sps(annexb.first_picture(annexb.units(stream)).sps)
        how = "picture"
    except (KcompressError, ValueError, EOFError):
        pass
    except BaseException:
        how, detail = "traceback", traceback.format_exc()
    seconds, megabytes = time.perf_counter() - start, _megabytes()
    if seconds > HEADER_SECONDS:
        how = "slow"
    if megabytes > HEADER_MEGABYTES:
        how = "memory"
    if keep and how not in ("picture", "refused"):
        Path(keep, f"{how}-header-{number}.{name}").write_bytes(data)
    return Ended(name, number, how, seconds, megabytes, detail)


def _megabytes() -> float:
    """Highest so far, of this process and of the programs it ran."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1000


def _begin(megabytes: int) -> None:
    os.nice(15)
    # Addresses are more than memory: threads' stacks and libraries count, too.
    resource.setrlimit(resource.RLIMIT_AS, (4 * megabytes * 1_000_000, resource.RLIM_INFINITY))
    os.environ["KCOMPRESS_TIMEOUT"] = str(SECONDS)
    import warnings

    warnings.simplefilter("ignore")


def results(arguments: argparse.Namespace) -> Iterator[Ended]:
    """Every mutant, in no certain order; a process that died is told as one."""
    files = parents()
    work, megabytes, count = tried, MEGABYTES, arguments.mutants
    if arguments.headers:
        work, megabytes, count = header, HEADER_MEGABYTES, arguments.headers
        files = {name: files[name] for name in ("bpg", "hevc", "heic", "avif", "avif by ffmpeg")}
    jobs = [
        (name, data, number, arguments.seed, arguments.keep)
        for number in range(-(-count // len(files)))
        for name, data in files.items()
    ]
    # Processes of their own for some mutants each: what a library spoils, and the highest memory, ends with them.
    context = multiprocessing.get_context("spawn")
    size = 100 if not arguments.headers else 2500
    for first in range(0, len(jobs), size * arguments.jobs):
        chunk = jobs[first : first + size * arguments.jobs]
        with ProcessPoolExecutor(arguments.jobs, context, _begin, (megabytes,)) as pool:
            futures = [(job, pool.submit(work, job)) for job in chunk]
            for job, future in futures:
                try:
                    yield future.result()
                except Exception as error:
                    yield Ended(job[0], job[2], "died", 0, 0, str(error))


def main() -> int:
    """Run, and print a table; 1 where some mutant did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--headers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", default=None)
    arguments = parser.parse_args()
    if arguments.keep:
        Path(arguments.keep).mkdir(parents=True, exist_ok=True)
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest: dict[str, float] = collections.defaultdict(float)
    largest: dict[str, float] = collections.defaultdict(float)
    seen: set[str] = set()
    for each in results(arguments):
        table[each.format][each.how] += 1
        slowest[each.format] = max(slowest[each.format], each.seconds)
        largest[each.format] = max(largest[each.format], each.megabytes)
        if each.how not in ("picture", "refused"):
            last = each.detail.strip().splitlines()[-1:] or [""]
            if last[0] not in seen or each.how in ("died", "slow", "memory"):
                print(f"{each.how}: {each.format} {each.number}, {each.seconds:.1f} s\n{each.detail}", flush=True)
            seen.add(last[0])
    print(f"{'format':8}{'pictures':>10}{'refused':>10}{'wrong':>8}{'slowest, s':>12}{'MB':>8}")
    wrong = 0
    for name, counts in sorted(table.items()):
        bad = counts.total() - counts["picture"] - counts["refused"]
        wrong += bad
        print(f"{name:8}{counts['picture']:10}{counts['refused']:10}{bad:8}{slowest[name]:12.2f}{largest[name]:8.0f}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
