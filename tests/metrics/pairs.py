"""The pairs on which SSIMULACRA2 is compared with the package ``ssimulacra2``, and its stored scores.

``python tests/metrics/pairs.py`` scores all pairs with the package and writes ``ssimulacra2.csv`` anew.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pil
from PIL import ImageFilter

STORED = Path(__file__).parent / "ssimulacra2.csv"
_IMAGES = Path(__file__).parents[1] / "images"
# File, and the crop (left, top, right, bottom) if it is not whole.
_ORIGINALS = {
    "lake": ("lake.png", None),
    "balloons": ("balloons-333x217.png", None),
    "lake-128x128": ("lake.png", (60, 200, 188, 328)),
    "balloons-161x97": ("balloons-333x217.png", (90, 60, 251, 157)),
}
_DEGRADATIONS = {
    "jpeg": (15, 25, 40, 60, 80, 92, 98),
    "webp": (10, 40, 80, 96),
    "blur": (0.3, 0.5, 0.8),
    "noise": (1, 3, 8),
}


def originals() -> dict[str, np.ndarray]:
    """Pixels by name."""
    found = {}
    for name, (file, crop) in _ORIGINALS.items():
        picture = Pil.open(_IMAGES / file).convert("RGB")
        found[name] = np.asarray(picture.crop(crop) if crop else picture)
    return found


def distorted(original: np.ndarray, kind: str, amount: float) -> np.ndarray:
    """JPEG and WebP at a quality, blur and noise of so many pixels and levels."""
    picture = Pil.fromarray(original)
    if kind == "noise":
        noise = np.random.default_rng(5).normal(0, amount, original.shape)
        return np.clip(np.rint(original + noise), 0, 255).astype(np.uint8)
    if kind == "blur":
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(amount)))
    file = io.BytesIO()
    picture.save(file, kind.upper(), quality=int(amount))
    return np.asarray(Pil.open(file).convert("RGB"))


def pairs() -> Iterator[tuple[str, str, float]]:
    """Names of all pairs: original, kind, amount."""
    for name in _ORIGINALS:
        for kind, amounts in _DEGRADATIONS.items():
            for amount in amounts:
                yield name, kind, amount


def digest(pixels: np.ndarray) -> str:
    """Tells whether this machine's encoder made the pixels that were scored."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


def package_score(original: np.ndarray, other: np.ndarray) -> float:
    """The package's score; it reads files."""
    from ssimulacra2 import compute_ssimulacra2

    files = io.BytesIO(), io.BytesIO()
    for pixels, file in zip((original, other), files, strict=True):
        Pil.fromarray(pixels).save(file, "BMP")
    return float(compute_ssimulacra2(*files))


def stored() -> list[dict[str, str]]:
    """Rows of the stored scores."""
    with STORED.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def _write() -> None:
    import PIL
    import ssimulacra2

    with STORED.open("w", newline="") as file:
        file.write(
            f"# Scores of the package ssimulacra2 {ssimulacra2.__version__} (PyPI), NumPy and SciPy in float64.\n"
        )
        file.write(f"# Distorted pixels were made with Pillow {PIL.__version__}; sha256 (16 digits) of them.\n")
        file.write("# Kept: scores of 5 to 98. Made by: python tests/metrics/pairs.py\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["original", "kind", "amount", "sha256", "score"])
        for name, kind, amount in pairs():
            original = originals()[name]
            other = distorted(original, kind, amount)
            score = package_score(original, other)
            if 5 <= score <= 98:
                rows.writerow([name, kind, amount, digest(other), f"{score:.6f}"])


if __name__ == "__main__":
    _write()
