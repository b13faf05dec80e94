"""Labels of a data set that has one folder a class."""

from collections.abc import Sequence
from pathlib import PurePath

from kcompress.errors import InputError


def class_folders(names: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Classes of pictures, sorted by name, and each picture's class as its position among them.

    The class is the last folder of the picture's name: ``Apple`` in ``train/Apple/x.jpg``.

    Raises:
        InputError: a picture that lies in no folder, or fewer than two classes.
    """
    folders = {name: PurePath(name).parent.name for name in names}
    loose = [name for name, folder in folders.items() if not folder]
    if loose:
        raise InputError(
            f"labels were asked for, and {loose[0]} ({len(loose)} of {len(folders)} pictures) lies in no folder. "
            "Put pictures into one folder a class, or go without labels."
        )
    classes = sorted(set(folders.values()))
    if len(classes) < 2:
        raise InputError(
            f"labels were asked for, and there is {len(classes) or 'no'} class ({', '.join(classes) or 'no picture'}). "
            "Put pictures into one folder a class, or go without labels."
        )
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, {name: numbers[folder] for name, folder in folders.items()}
