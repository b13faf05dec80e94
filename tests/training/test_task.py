"""What all tasks have in common: the split, and batches that are made ahead."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kcompress.dataset import DataSet, is_held_out
from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.inference.weights import card, folder, open_weights
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.npp import Npp
from kcompress.networks.rdo import Rdo
from kcompress.training.crops import holds, middle, random_crop, random_square, shrunk, square
from kcompress.training.export import gflop
from kcompress.training.task import prefetched
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.training.tasks.rdo.task import RdoTask


def test_held_out_is_decided_by_the_digest() -> None:
    digests = [f"{number:08x}" + "0" * 56 for number in np.linspace(0, 2**32 - 1, 1000).astype(int)]
    assert sum(is_held_out(digest, 0.4) for digest in digests) == 400
    assert all(is_held_out(digest, 0.5) for digest in digests if is_held_out(digest, 0.2))


def test_photographs_are_split_by_their_bytes(photos: DataSet, tmp_path: Path) -> None:
    task = RdoTask(photos, RdoRecipe(split=0.6, validation_pictures=1))
    split = task.split()
    assert len(split.train) == 4 and len(split.validation) == 1 and task.split() == split
    whole = RdoTask(photos, replace(task.recipe, validation_pictures=9)).split()
    assert sorted([*whole.train, *whole.validation]) == photos.names() and whole.digest == split.digest
    other = shutil.copytree(photos.location, tmp_path / "photos")
    shutil.copy(other / "0.png", other / "more.png")
    more = RdoTask(DataSet(str(other)), task.recipe).split()
    assert more.digest != split.digest and ("more.png" in more.train) == ("0.png" in more.train)
    assert {*split.train} <= {*more.train}


@pytest.mark.parametrize(("share", "purpose"), [(0.9999999, "validate with"), (1e-7, "train on")])
def test_nothing_to_validate_with_or_to_train_on(photos: DataSet, share: float, purpose: str) -> None:
    with pytest.raises(InputError, match=f"leaves none to {purpose}"):
        RdoTask(photos, RdoRecipe(split=share)).split()


def test_what_is_made_ahead_comes_in_order() -> None:
    stream = prefetched(lambda number: number * number, 3, 5)
    assert [next(stream) for _ in range(4)] == [25, 36, 49, 64]
    stream.close()


def test_crops(lake: Image) -> None:
    pixels, random = lake.pixels[:50, :80], np.random.default_rng(0)
    assert np.array_equal(middle(pixels, 30), pixels[10:40, 25:55]) and np.array_equal(middle(pixels, 90), pixels)
    assert shrunk(pixels, 25).shape == (25, 40, 3) and shrunk(pixels, 50) is pixels
    assert square(pixels, 20).shape == square(lake.pixels[:9, :9], 20).shape == (20, 20, 3)
    assert holds(pixels, 50) and not holds(pixels, 51)
    found = {random_crop(pixels, 49, random).tobytes() for _ in range(60)}
    assert (
        found
        == {np.ascontiguousarray(pixels[y : y + 49, x : x + 49]).tobytes() for y in (0, 1) for x in range(32)} & found
    )
    assert len(found) > 20
    aligned = {random_crop(pixels, 18, random, 16).tobytes() for _ in range(200)}
    corners = [(y, x) for y in (0, 16, 32) for x in (0, 16, 32, 48)]
    assert aligned == {np.ascontiguousarray(pixels[y : y + 18, x : x + 18]).tobytes() for y, x in corners}
    whole = pixels[:, :50]
    assert {random_square(whole, 50, random).tobytes() for _ in range(20)} == {
        np.ascontiguousarray(each).tobytes() for each in (whole, whole[:, ::-1])
    }


def test_operations_are_counted_by_area() -> None:
    network = torch.nn.Conv2d(3, 4, 1)
    assert gflop(network, [torch.zeros(1, 3, 16, 32)]) == pytest.approx(2 * 3 * 4 * 1920 * 1080 / 1e9)


@pytest.mark.parametrize(("name", "network", "more"), [
    ("rdo-jpeg", Rdo(112, 4), [torch.zeros(1, 258)]), ("kuchen-jpeg", Kuchen(8), []),
    ("npp-grocery", Npp(8), [torch.zeros(1, 1)]), ("npp-imagenet", Npp(16), [torch.zeros(1, 1)]),
])  # fmt: skip
def test_cards_hold_what_is_counted(name: str, network: torch.nn.Module, more: list[torch.Tensor]) -> None:
    found = gflop(network, [torch.zeros(1, 3, 64, 64), *more])
    assert round(found, 1) == card(open_weights(folder() / f"{name}.safetensors"))["gflop_at_1920x1080"]
