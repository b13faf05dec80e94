"""Tasks that learn from a folder of photographs: which are held out, and reading them."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kcompress.dataset import DataSet, digest, is_held_out
from kcompress.errors import InputError
from kcompress.images import Pixels, read_canonical
from kcompress.training.crops import shrunk
from kcompress.training.events import Prepared
from kcompress.training.recipe import JpegRecipe
from kcompress.training.task import BatchT, DataT, RecipeT, Split, Task
from kcompress.workers import ahead, ordered

REGION = 288
"""Side of the regions that are cut from JPEG files, pixels: SSIMULACRA2 wants its six scales."""

Item = TypeVar("Item")
Result = TypeVar("Result")
JpegRecipeT = TypeVar("JpegRecipeT", bound=JpegRecipe)


@dataclass(frozen=True)
class PhotoTask(Task[RecipeT, DataT, BatchT]):
    """A task that learns from photographs; ``jobs`` processes or threads prepare them."""

    photos: DataSet
    recipe: RecipeT
    jobs: int = 1

    def split(self) -> Split:
        names, share = self.photos.names(), self.recipe.split
        digests = [digest(self.photos.read(name)) for name in names]
        train, validation = divided(names, digests, 1 - share)
        if not train or not validation:
            purpose = "validate with" if train else "train on"
            raise InputError(
                f"{self.photos.location} has {len(names)} pictures: split {share:g} : {1 - share:g} leaves none to "
                f"{purpose}. Give more pictures, or another --split."
            )
        return Split(train, validation[: self.recipe.validation_pictures], digest("".join(digests).encode()))


@dataclass(frozen=True)
class JpegTask(Task[JpegRecipeT, DataT, BatchT]):
    """A task that learns from the JPEG files of a folder."""

    photos: Path
    recipe: JpegRecipeT

    def split(self) -> Split:
        paths = sorted(self.photos.glob("*.jpg"))
        digests = [digest(path.read_bytes()) for path in paths]
        train, validation = divided(paths, digests, self.recipe.held_out)
        if not train or not validation:
            raise self.too_few(len(paths))
        return Split(train, validation, digest("".join(digests).encode()))

    def too_few(self, pictures: int) -> InputError:
        """Error for a folder of so many pictures."""
        return InputError(
            f"{self.photos} holds {pictures} JPEG pictures, too few to train and to validate. "
            f"Give more, of at least {REGION} pixels a side."
        )


def divided(
    pictures: Sequence[Item], digests: Sequence[str], share: float
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Pictures to train on, and the share of them to validate with: their sha256 alone decides."""
    held_out = [is_held_out(each, share) for each in digests]
    train, validation = (
        tuple(picture for picture, held in zip(pictures, held_out, strict=True) if held is wanted)
        for wanted in (False, True)
    )
    return train, validation


def picture(photos: DataSet, name: str) -> Pixels:
    """Read a photograph."""
    return read_canonical(photos.read(name), name).pixels


def shrunk_pictures(photos: DataSet, names: Sequence[str], side: int) -> Generator[Prepared, None, dict[str, Pixels]]:
    """Pictures by name, shrunk to 1.15 times the side that is cut from them: crops differ in size and place."""
    pictures = {}
    for name in names:
        pictures[name] = shrunk(picture(photos, name), round(side * 1.15))
        yield Prepared(len(pictures), len(names))
    return pictures


def too_small(photos: DataSet, side: int) -> InputError:
    """Error for photographs none of which has room for a patch."""
    return InputError(
        f"{photos.location} has no picture of {side} pixels a side. Give larger ones, or a smaller --patch."
    )


def prepared(
    executor: Executor, function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], jobs: int
) -> Generator[Prepared, None, list[Result]]:
    """Results of a function on every task, in their order; yields progress."""
    found = []
    for result in ordered(executor, function, tasks, ahead(jobs)):
        found.append(result)
        yield Prepared(len(found), len(tasks))
    return found
