"""Contents of labels.csv for a training: originals, their labels, and the split of the pictures."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from kcompress import labels
from kcompress.codecs import check_settings
from kcompress.dataset import DataSet, digest
from kcompress.errors import InputError, UsageError
from kcompress.images import Pixels, read_canonical
from kcompress.labels import Row
from kcompress.training.photos import divided


@dataclass(frozen=True)
class Pair:
    """A picture and its label, both (H, W, 3) uint8."""

    original: Pixels
    target: Pixels


@dataclass(frozen=True)
class Labels:
    """The chosen rows of a labels.csv.

    Attributes:
        path: of labels.csv.
        dataset: the originals.
        rows: the chosen ones, in the order of the file; those of one picture follow each other.
        codec: for which they are labelled, at a quality on its own scale.
        metric: which decided, with a weight of bits against it.
        sha256: of labels.csv.
    """

    path: Path
    dataset: DataSet
    rows: tuple[Row, ...]
    codec: str
    quality: int
    metric: str
    sha256: str
    rate_weight: float = 1

    def split(self, share: float) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Rows of the pictures to train on, and of those that are held out: by the picture's sha256 alone.

        Raises:
            InputError: one of the two is empty.
        """
        train, held_out = divided(self.rows, [row.sha256 for row in self.rows], 1 - share)
        if not train or not held_out:
            pictures = len({row.sha256 for row in self.rows})
            raise InputError(
                f"{self.path} has labels of {pictures} pictures: split {share:g} : {1 - share:g} leaves none "
                f"to {'validate with' if train else 'train on'}. Label more pictures, or give another --split."
            )
        return train, held_out

    def pairs(self, rows: Sequence[Row]) -> Iterator[Pair]:
        """Original and label of each row.

        Raises:
            InputError: a picture is missing, has changed since it was labelled, or its label is of another size.
        """
        for name, own in groupby(rows, key=lambda row: row.path):
            data = self.dataset.read(name)
            original = read_canonical(data, name).pixels
            sha256 = digest(data)
            for row in own:
                if row.sha256 != sha256:
                    raise InputError(
                        f"{name} is not the picture that was labelled (sha256 {sha256[:12]}, not {row.sha256[:12]}). "
                        "Label again with --resume."
                    )
                place = original[row.top : row.top + row.height, row.left : row.left + row.width]
                target = self._label(row)
                if place.shape != target.shape:
                    sizes = " and ".join(f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (place, target))
                    raise InputError(f"{name} and its label {row.label} differ in size: {sizes}. Label again.")
                yield Pair(place, target)

    def _label(self, row: Row) -> Pixels:
        path = self.path.parent / row.label
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}, the label of {row.path}, cannot be read: {error.strerror}.") from error
        return read_canonical(data, str(path)).pixels


def opened(path: Path, dataset: str | None = None, codec: str | None = None) -> Labels:
    """Read and check a labels.csv.

    Args:
        path: of the file, or of the folder that holds it.
        dataset: folder or URL of the originals; None for where they were when they were labelled.
        codec: that they must be labelled for, or None.

    Raises:
        InputError: no labels.csv, nothing chosen in it, several codecs or qualities, missing labels.
        UsageError: the labels are for another codec.
    """
    path = path / labels.FILE if path.is_dir() else path
    rows, metrics = labels.read(path)
    check_settings(path, ((row.codec, row.quality) for row in rows))
    chosen = tuple(row for row in rows if row.chosen)
    if not chosen:
        raise InputError(f"{path} has {len(rows)} rows and none of them is chosen. Give a labelling that has ended.")
    places = Counter((row.sha256, row.path, row.patch, row.left, row.top) for row in chosen)
    twice = [place[1] for place, count in places.items() if count > 1]
    if twice:
        raise InputError(f"{path} has two labels of {twice[0]}: it has not ended. Go on with label --resume.")
    settings = sorted({(row.codec, row.quality) for row in chosen})
    if len(settings) > 1:
        raise InputError(
            f"{path} has labels for {', '.join(f'{name} {quality}' for name, quality in settings)}. "
            "Label with one codec and quality into one folder."
        )
    ((labelled_for, quality),) = settings
    if codec is not None and codec != labelled_for:
        raise UsageError(f"--codec {codec}: {path} has labels for {labelled_for}. Leave --codec out, or label again.")
    plan = labels.plan(path.parent)
    where = dataset or plan.get("dataset")
    if where is None:
        raise InputError(f"{path.parent / labels.PLAN} does not say where the originals are. Give --dataset.")
    absent = [row.label for row in chosen if not (path.parent / row.label).is_file()]
    if absent:
        raise InputError(
            f"{len(absent)} of {len(chosen)} labels are missing beside {path}, {absent[0]} first. "
            "Label again into an empty folder."
        )
    return Labels(
        path, DataSet(where).absolute(), chosen, labelled_for, quality, metrics[0], digest(path.read_bytes()),
        plan.get("rate_weight", 1),
    )  # fmt: skip


def stored_on_disk(pairs: Iterator[Pair], folder: Path) -> list[Pair]:
    """Store pairs in a file without a name, which the system keeps in memory as far as there is any."""
    with tempfile.TemporaryFile(dir=folder) as file:
        shapes = []
        for pair in pairs:
            shapes.append(pair.original.shape)
            file.write(pair.original.tobytes())
            file.write(pair.target.tobytes())
        file.flush()
        everything = np.memmap(file, np.uint8, "r")
    kept, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        original, target = (everything[at + n * size : at + (n + 1) * size].reshape(shape) for n in (0, 1))
        kept.append(Pair(original, target))
        at += 2 * size
    return kept
