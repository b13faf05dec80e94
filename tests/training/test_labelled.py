"""What a training reads from labels.csv, and what it refuses."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labeling.tools import labelled, pixels, plan, save

from kcompress.errors import InputError, KcompressError, UsageError
from kcompress.images import Image
from kcompress.labeling.plan import Patches
from kcompress.training.tasks.kuchen.labelled import Pair, opened, stored_on_disk


def test_pairs_are_originals_and_chosen_labels(labels: Path) -> None:
    found = opened(labels)
    assert (found.codec, found.quality, found.metric) == ("jpeg", 75, "ssimulacra2")
    assert [row.path for row in found.rows] == [f"{number}.bmp" for number in range(10)]
    assert {row.group for row in found.rows} <= {"identity", "nlm:h=10"}
    for row, pair in zip(found.rows, found.pairs(found.rows), strict=True):
        assert np.array_equal(pair.original, pixels(labels.parents[1] / "photos" / row.path))
        assert np.array_equal(pair.target, pixels(labels.parent / row.label))
    assert opened(labels.parent).rows == found.rows, "the folder will do"


def test_the_split_is_by_the_bytes_of_the_picture(labels: Path, tmp_path: Path) -> None:
    kept, held_out = opened(labels).split(0.6)
    assert kept and held_out and len(kept) + len(held_out) == 10
    more, _ = opened(labels).split(0.8)
    assert {row.sha256 for row in kept} <= {row.sha256 for row in more}
    # Renamed and in another company, each picture stays on its side.
    photos = tmp_path / "renamed"
    photos.mkdir()
    for number in (7, 3, 1, 8, 2, 0):
        shutil.copy(labels.parents[1] / f"photos/{number}.bmp", photos / f"x{9 - number}.bmp")
    labelled(plan(photos), tmp_path / "labels")
    fewer, _ = opened(tmp_path / "labels").split(0.6)
    assert {row.sha256 for row in fewer} <= {row.sha256 for row in kept}


def test_patches_are_pairs_of_their_own(lake: Image, tmp_path: Path) -> None:
    save(lake.pixels[:50, :70], tmp_path / "photos" / "a.png")
    labelled(plan(tmp_path / "photos", patches=Patches(32, 24, 16)), tmp_path / "labels")
    found = opened(tmp_path / "labels")
    assert len(found.rows) == 6
    for row, pair in zip(found.rows, found.pairs(found.rows), strict=True):
        expected = lake.pixels[row.top : row.top + 24, row.left : row.left + 32]
        assert np.array_equal(pair.original, expected) and pair.target.shape == (24, 32, 3)


def test_pairs_on_disk_are_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = [(5, 7, 3), (1, 1, 3), (20, 4, 3)]
    pairs = [Pair(*(random.integers(0, 256, shape, np.uint8) for _ in range(2))) for shape in shapes]
    kept = stored_on_disk(iter(pairs), tmp_path)
    assert len(kept) == 3 and not [*tmp_path.iterdir()]
    for one, other in zip(pairs, kept, strict=True):
        assert np.array_equal(one.original, other.original) and np.array_equal(one.target, other.target)


def _other_codec(folder: Path) -> None:
    opened(folder, codec="webp")


def _missing_label(folder: Path) -> None:
    (folder / "pictures/3.bmp.png").unlink()
    opened(folder)


def _missing_original(folder: Path) -> None:
    found = opened(folder, dataset=str(folder))
    list(found.pairs(found.rows))


def _changed_original(folder: Path) -> None:
    photos = folder.parent / "photos"
    save(pixels(photos / "2.bmp")[::-1], photos / "2.bmp")
    found = opened(folder, str(photos))
    list(found.pairs(found.rows))


def _other_size(folder: Path) -> None:
    save(pixels(folder / "pictures/0.bmp.png")[1:], folder / "pictures/0.bmp.png")
    found = opened(folder)
    list(found.pairs(found.rows))


def _nothing_chosen(folder: Path) -> None:
    lines = [line for line in (folder / "labels.csv").read_text().splitlines() if "pictures/" not in line]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    opened(folder)


def _two_codecs(folder: Path) -> None:
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace(",jpeg,", ",webp,", 3))
    opened(folder)


def _no_table(folder: Path) -> None:
    (folder / "labels.csv").write_text("picture,label\na,b\n")
    opened(folder)


def _no_plan(folder: Path) -> None:
    (folder / "plan.json").unlink()
    opened(folder)


def _no_file(folder: Path) -> None:
    opened(folder / "other.csv")


def _one_side(folder: Path) -> None:
    opened(folder).split(0.001)


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (_other_codec, UsageError, r"--codec webp: .* has labels for jpeg"),
        (_missing_label, InputError, r"1 of 10 labels are missing .* pictures/3.bmp.png first"),
        (_missing_original, InputError, r"0.bmp cannot be read"),
        (_changed_original, InputError, r"2.bmp is not the picture that was labelled .* Label again"),
        (_other_size, InputError, r"differ in size: 96x72 and 96x71"),
        (_nothing_chosen, InputError, r"10 rows and none of them is chosen"),
        (_two_codecs, InputError, r"has labels for jpeg 75, webp 75"),
        (_no_table, InputError, r"is no labels.csv: its columns are others"),
        (_no_plan, InputError, r"plan.json does not say where the originals are. Give --dataset"),
        (_no_file, InputError, r"other.csv cannot be read: No such file"),
        (_one_side, InputError, r"labels of 10 pictures: split 0.001 : 0.999 leaves none to train on"),
    ],
)
def test_what_is_refused(
    labels: Path, tmp_path: Path, spoil: Callable[[Path], None], kind: type[KcompressError], message: str
) -> None:
    shutil.copytree(labels.parent, tmp_path / "labels")
    shutil.copytree(labels.parents[1] / "photos", tmp_path / "photos")
    with pytest.raises(kind, match=message):
        spoil(tmp_path / "labels")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("codec", "jpeg2000", "rows of jpeg2000 75"), ("quality", "999", "rows of jpeg 999"),
        ("quality", "high", "line 2, cannot be read"), ("sha256", "abc", "line 2, cannot be read .sha256"),
        ("width", "0", "width 0"), ("height", "-5", "height -5"), ("left", "-1", "left -1"), ("bpp", "nan", "bpp nan"),
        ("path", "x" * 200_000, "line 2, cannot be read"),
    ],
)  # fmt: skip
def test_damaged_labels_are_told(labels: Path, tmp_path: Path, column: str, value: str, message: str) -> None:
    folder = shutil.copytree(labels.parent, tmp_path / "labels")
    with (folder / "labels.csv").open(newline="") as stream:
        header, first, *rest = csv.reader(stream)
    first[header.index(column)] = value
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, first, *rest])
    with pytest.raises(InputError, match=message):
        opened(folder)


@pytest.mark.parametrize("content", [
    b"", b"{", b"\xff\xfe\x00", b"[]", b"7", b'{"same": 5}', b'{"same": {}, "dataset": 5}',
    b'{"same": {}, "rate_weight": "x"}', b"[" * 100_000,
])  # fmt: skip
def test_a_damaged_plan_is_told(labels: Path, tmp_path: Path, content: bytes) -> None:
    folder = shutil.copytree(labels.parent, tmp_path / "labels")
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json is no plan of a labelling\. Remove it"):
        opened(folder)


def test_a_decision_that_was_cut_short_is_told(labels: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(labels.parent, tmp_path / "labels")
    lines = (folder / "labels.csv").read_text().splitlines(keepends=True)
    again = next(line for line in lines if "pictures/0.bmp.png" in line)
    (folder / "labels.csv").write_text("".join([*lines, again]))
    with pytest.raises(InputError, match=r"has two labels of 0\.bmp: it has not ended"):
        opened(folder)
