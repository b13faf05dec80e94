"""What preprocessors gain on noisy pictures whose originals are known, in points of metrics at equal bytes.

    known_originals.py clean/ --codec jpeg --networks blend,rdo --filters guided:h=6,shrink:t=3 --noise 0,2,5,10

Each picture gets noise and a fine JPEG, as cameras publish them. Networks and filters see that; metrics compare the
coded picture with what it was before. Prints a table in Markdown: for each noise the mean rise of each metric over the
plain codec at equal bytes (Bjontegaard's difference of quality, of mean curves), with 95 % bootstrap intervals over
pictures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kcompress.codecs import CODECS, Codec
from kcompress.codecs.quantisation import tables_named
from kcompress.dataset import DataSet
from kcompress.encoding import encode, round_trip
from kcompress.images import Image, read_canonical
from kcompress.metrics import METRICS
from kcompress.networks import NONE, Preprocessor
from kcompress.networks.loading import load
from kcompress.networks.tables import with_tables
from kcompress.pool import group_named
from kcompress.rate_distortion.bootstrap import percentiles, resamples
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.training.crops import middle
from kcompress.training.distortions import compression, noise, through
from kcompress.workers import one_thread

PUBLISHED_QUALITY = 90
"""JPEG quality at which pictures are published."""

Way = tuple[str, Codec, Preprocessor | None]
"""Name of a row, the codec with the tables that go with it, and what comes before the codec."""

Curves = NDArray[np.float64]
"""ln(bytes), then a score for each metric: (pictures, qualities, 1 + metrics)."""


def ways(codec: Codec, networks: str, filters: str, tables: str) -> list[Way]:
    """The plain codec, networks and series of filters, with the tables asked for or those of each network."""

    def tabled(*preprocessors: str) -> Codec:
        return with_tables(codec, tables_named(tables), preprocessors, codec.backend())

    plain = tabled()
    found: list[Way] = [(NONE, plain, None)]
    for name in filter(None, networks.split(",")):
        theirs = tabled(name)
        found.append((name, theirs, load(name, codec=codec.name, round_trip=round_trip(theirs))))
    return [*found, *((name, plain, group_named(name)) for name in filter(None, filters.split(",")))]


def curves(
    images: Sequence[Image], scorers: Sequence[FileScorer], way: Way, qualities: Sequence[int], metrics: Sequence[str]
) -> Curves:
    """What a way gives on each picture at each quality; higher scores are better."""
    _, codec, preprocessor = way
    found = np.empty((len(images), len(qualities), 1 + len(metrics)))
    for row, (image, scorer) in enumerate(zip(images, scorers, strict=True)):
        for column, quality in enumerate(qualities):
            data = encode(image, codec, codec.setting(quality), preprocessor).data
            scores = scorer(data)
            found[row, column] = [np.log(len(data)), *(METRICS[name].sign * scores[name] for name in metrics)]
    return found


def rise(plain: Curves, test: Curves) -> NDArray[np.float64]:
    """Mean rise of each score of mean curves over the bytes that both have; nan where they share none."""
    before, after = plain.mean(axis=0), test.mean(axis=0)
    low, high = (choose(before[end, 0], after[end, 0]) for choose, end in ((max, 0), (min, -1)))
    if high <= low:
        return np.full(plain.shape[2] - 1, np.nan)
    places = np.linspace(low, high, 101)
    return np.array([
        (np.interp(places, after[:, 0], after[:, each]) - np.interp(places, before[:, 0], before[:, each])).mean()
        for each in range(1, plain.shape[2])
    ])  # fmt: skip


def cell(plain: Curves, test: Curves, metric: int) -> str:
    """A rise with its interval."""
    value = rise(plain, test)[metric]
    if np.isnan(value):
        return "no bytes in common"
    low, high = percentiles([rise(plain[draw], test[draw])[metric] for draw in resamples(len(plain), 500)])
    return f"{value:+.2f} ({low:+.2f} .. {high:+.2f})"


def main() -> None:
    """Encode, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of pictures without noise")
    parser.add_argument("--codec", default="jpeg", choices=list(CODECS))
    parser.add_argument("--networks", default="blend")
    parser.add_argument("--filters", default="guided:h=6,guided:s=4:h=6,shrink:t=3")
    parser.add_argument("--tables", default="auto", help="JPEG's, as `encode` takes them [those of each network]")
    parser.add_argument("-q", "--qualities", default="30,50,65,75,85,92", help="[30,50,65,75,85,92]")
    parser.add_argument("--noise", default="0,2,5,10", help="deviations, grey levels [0,2,5,10]")
    parser.add_argument("--metrics", default="ssimulacra2,butteraugli")
    parser.add_argument("--side", type=int, default=448, help="of the middles, pixels [448]")
    options = parser.parse_args()
    one_thread()

    dataset = DataSet(str(options.folder))
    whole = [read_canonical(dataset.read(name), name) for name in dataset.names()]
    images = [image.with_pixels(middle(image.pixels, options.side)) for image in whole]
    metrics, codec = options.metrics.split(","), CODECS[options.codec]
    qualities = sorted(map(int, options.qualities.split(",")), key=lambda each: -codec.setting(each).coarseness)
    scorers = [FileScorer(image, metrics) for image in images]
    print(f"Rise at equal bytes on {options.folder} ({len(images)}), {codec.name} {options.qualities}.\n")
    print("| noise | before the codec |", " | ".join(metrics), "|")
    print("|", " | ".join(["---"] * (len(metrics) + 2)), "|")
    for deviation in map(float, options.noise.split(",")):
        steps = [noise(deviation, 0.6, seed=0), compression("jpeg", PUBLISHED_QUALITY)] if deviation else []
        published = [image.with_pixels(through(image.pixels, steps)) for image in images]
        plain: Curves | None = None
        for way in ways(codec, options.networks, options.filters, options.tables):
            found = curves(published, scorers, way, qualities, metrics)
            if plain is None:
                plain = found
                continue
            cells = [cell(plain, found, each) for each in range(len(metrics))]
            print("|", " | ".join([f"{deviation:g}", f"`{way[0]}`", *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
