"""Before/after picture of the README: original, plain JPEG, and the default network at no more bytes.

    python tests/benchmarks/before_after.py -o tests/benchmarks/before-after.png

The picture is a crop of tests/images/balloons-333x217.png, twice as large; the figures are those of the whole picture.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kcompress import images
from kcompress.codecs import CODECS, decode
from kcompress.encoding import Encoded, encode
from kcompress.metrics import Scorer
from kcompress.networks import DEFAULTS
from kcompress.networks.loading import load
from kcompress.networks.tables import with_tables

PHOTO = Path(__file__).parent.parent / "images" / "balloons-333x217.png"
LEFT, TOP, WIDTH, HEIGHT = 100, 0, 132, 116
"""Crop, in pixels."""


def no_larger(picture: images.Image, plain: Encoded) -> tuple[int, Encoded]:
    """Highest quality at which the default network's file is no larger than the plain one, and that file."""
    jpeg, network = CODECS["jpeg"], load(DEFAULTS["jpeg"], device="cpu", codec="jpeg")
    codec = with_tables(jpeg, None, [DEFAULTS["jpeg"]], jpeg.backend())
    quality, best = 0, None
    for tried in range(plain.setting.quality, 101):  # the network's file of the same quality is smaller
        encoded = encode(picture, codec, codec.setting(tried), network)
        if len(encoded.data) > len(plain.data):
            break
        quality, best = tried, encoded
    assert best is not None, "the network's file of the same quality is larger"
    return quality, best


def main() -> None:
    """Draw three crops side by side, labelled with bytes and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-q", "--quality", type=int, default=25, help="of the plain JPEG")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    picture, codec = images.read(PHOTO.read_bytes()), CODECS["jpeg"]
    score = Scorer(picture.pixels, ("ssimulacra2",))
    plain = encode(picture, codec, codec.setting(options.quality))
    quality, ours = no_larger(picture, plain)
    shown = [("original", picture.pixels)]
    for name, number, encoded in (("plain JPEG", options.quality, plain), ("kcompress", quality, ours)):
        pixels = decode(encoded.data, name).pixels
        label = f"{name}, -q {number}\n{len(encoded.data):,} bytes, SSIMULACRA2 {score(pixels)['ssimulacra2']:.1f}"
        shown.append((label, pixels))

    figure = Figure(figsize=(8, 2.75), dpi=100, facecolor="white", layout="constrained")
    for axes, (label, pixels) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        crop = pixels[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
        axes.imshow(np.kron(crop, np.ones((2, 2, 1), np.uint8)), interpolation="nearest")
        axes.set_title(label, fontsize=9)
        axes.set_axis_off()
    figure.savefig(options.output)


if __name__ == "__main__":
    main()
