"""Before/after pictures of the README: original, plain JPEG, and a network at no more bytes.

    python tests/benchmarks/before_after.py -o tests/benchmarks/before-after.png
    python tests/benchmarks/before_after.py --noise 10 --network kuchen --strength 0.75 -q 75 -o noisy.png

The picture is a crop of tests/images/balloons-333x217.png, twice as large; the figures are those of the whole picture.
With ``--noise`` it becomes a noisy JPEG of quality 85 first; scores are against what it was before.
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
from kcompress.training.distortions import compression, noise, through

PHOTO = Path(__file__).parent.parent / "images" / "balloons-333x217.png"
LEFT, TOP, WIDTH, HEIGHT = 100, 0, 132, 116
"""Crop, in pixels."""


def no_larger(
    picture: images.Image, plain: Encoded, name: str = DEFAULTS["jpeg"], strength: float = 1
) -> tuple[int, Encoded]:
    """Highest quality at which a network's file is no larger than the plain one, and that file."""
    jpeg, network = CODECS["jpeg"], load(name, device="cpu", codec="jpeg", strength=strength)
    codec = with_tables(jpeg, None, [name], jpeg.backend())
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
    parser.add_argument("--network", default=DEFAULTS["jpeg"], help="of the other JPEG")
    parser.add_argument("--strength", type=float, default=1, help="of the network")
    parser.add_argument("--noise", type=float, default=0, help="that is added first: its deviation, grey levels")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    picture, codec = images.read(PHOTO.read_bytes()), CODECS["jpeg"]
    score = Scorer(picture.pixels, ("ssimulacra2",))
    first, ours = "original", "kcompress"
    if options.noise:
        distortions = [noise(options.noise, 0, seed=0), compression("jpeg", 85)]
        picture = picture.with_pixels(through(picture.pixels, distortions))
        first = f"a noisy JPEG\nSSIMULACRA2 {score(picture.pixels)['ssimulacra2']:.1f}"
        ours = f"{options.network}, --strength {options.strength:g}"
    plain = encode(picture, codec, codec.setting(options.quality))
    quality, better = no_larger(picture, plain, options.network, options.strength)
    shown = [(first, picture.pixels)]
    for name, number, encoded in (("plain JPEG", options.quality, plain), (ours, quality, better)):
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
