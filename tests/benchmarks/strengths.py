"""What strengths of a network save and cost at one quality setting, beside other networks and series of filters.

    strengths.py phone/ clean/ --codec jpeg -q 75

Prints a table in Markdown: for each folder the change of all bytes and of mean scores against the plain encoder at the
same quality and effort. The middle of each picture is taken. With ``--noise`` each becomes a noisy JPEG of quality 85
first, and scores are against what it was before.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from kcompress.codecs import CODECS, Codec
from kcompress.dataset import DataSet
from kcompress.encoding import encode, round_trip
from kcompress.images import Image, read_canonical
from kcompress.networks import DEFAULTS, NONE, Preprocessor
from kcompress.networks.loading import load
from kcompress.networks.tables import with_tables
from kcompress.pool import group_named
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.training.distortions import compression, noise, through
from kcompress.workers import one_thread

SCORES = ("vqscore", "ssimulacra2")

Way = tuple[str, Codec, Preprocessor | None]
"""Name of a row, the codec with the tables that go with it, and what comes before the codec."""


class Found(NamedTuple):
    """Bytes of all pictures of a folder, and their mean scores."""

    size: int
    vqscore: float
    ssimulacra2: float


def middles(folder: Path, count: int | None, side: int) -> list[Image]:
    """Middles of the pictures of a folder, or of some that are spread over it."""
    dataset = DataSet(str(folder))
    names, found = dataset.names(), []
    for number in np.unique(np.linspace(0, len(names) - 1, count or len(names)).round()).astype(int):
        image = read_canonical(dataset.read(names[number]), names[number])
        top, left = (max(0, length - side) // 2 for length in (image.height, image.width))
        found.append(image.with_pixels(image.pixels[top : top + side, left : left + side].copy()))
    return found


def ways(codec: Codec, network: str, strengths: str, filters: str) -> Iterator[Way]:
    """The plain codec, the network at each strength, the codec's default network, and series of filters."""
    yield f"`{NONE}`", codec, None
    for strength in map(float, strengths.split(",")):
        yield f"`{network}`, {strength:g}", *_loaded(codec, network, strength)
    default = DEFAULTS[codec.name]
    yield f"`{default}`", *_loaded(codec, default, None)
    for name in filters.split(","):
        yield f"`{name}`", codec, group_named(name)


def _loaded(codec: Codec, network: str, strength: float | None) -> tuple[Codec, Preprocessor | None]:
    """The codec with the tables that go with a network, and the network."""
    tabled = with_tables(codec, None, [network], codec.backend())
    return tabled, load(network, strength=strength, codec=codec.name, round_trip=round_trip(tabled))


def measured(images: list[Image], scorers: list[FileScorer], way: Way, quality: int) -> Found:
    """What a way gives on all pictures."""
    _, codec, preprocessor = way
    files = [encode(image, codec, codec.setting(quality), preprocessor).data for image in images]
    scores = [scorer(file) for scorer, file in zip(scorers, files, strict=True)]
    return Found(sum(map(len, files)), *(mean(each[name] for each in scores) for name in SCORES))


def absolute(found: Found) -> str:
    """A cell of the plain codec."""
    return f"{found.size / 1000:.0f} kB, {found.vqscore:.1f}, {found.ssimulacra2:.1f}"


def changed(found: Found, plain: Found) -> str:
    """A cell of any other."""
    scores = found.vqscore - plain.vqscore, found.ssimulacra2 - plain.ssimulacra2
    return f"{100 * (found.size / plain.size - 1):+.1f} %, {scores[0]:+.1f}, {scores[1]:+.1f}"


def main() -> None:
    """Encode, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of pictures")
    parser.add_argument("--codec", default="jpeg", choices=list(CODECS))
    parser.add_argument("-q", "--quality", type=int, default=75, help="on the codec's own scale [75]")
    parser.add_argument("--network", default="kuchen")
    parser.add_argument("--strengths", default="0.25,0.5,0.75,1")
    parser.add_argument("--filters", default="ar,guided:h=3,ar+guided:h=3,blur:s=0.5,blur:s=0.8+ar")
    parser.add_argument("--noise", type=float, default=0, help="that is added first: its deviation, grey levels [0]")
    parser.add_argument("--pictures", type=int, help="of each folder, spread over it [all]")
    parser.add_argument("--side", type=int, default=512, help="of the middles, pixels [512]")
    options = parser.parse_args()
    one_thread()

    sets = [middles(folder, options.pictures, options.side) for folder in options.folders]
    scorers = [[FileScorer(image, SCORES) for image in images] for images in sets]
    if options.noise:
        distortions = [noise(options.noise, 0, seed=0), compression("jpeg", 85)]
        sets = [[each.with_pixels(through(each.pixels, distortions)) for each in images] for images in sets]
    folders = ", ".join(f"{folder} ({len(images)})" for folder, images in zip(options.folders, sets, strict=True))
    print(f"Size, VQscore and SSIMULACRA2 on {folders}: those of the plain codec, then changes against it.\n")
    print("| before the codec |", " | ".join(folder.name for folder in options.folders), "|")
    print("|", " | ".join(["---"] * (len(sets) + 1)), "|")
    plain: list[Found] = []
    for way in ways(CODECS[options.codec], options.network, options.strengths, options.filters):
        found = [measured(*each, way, options.quality) for each in zip(sets, scorers, strict=True)]
        cells = [changed(*each) for each in zip(found, plain, strict=True)] if plain else map(absolute, found)
        plain = plain or found
        print("|", " | ".join([way[0], *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
