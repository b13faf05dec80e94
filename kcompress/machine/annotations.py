"""Truth of pictures from files: boxes of objects in COCO's annotation format, and texts."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from kcompress.errors import InputError
from kcompress.machine.average_precision import Boxes


def read_annotations(path: Path, names: Sequence[str]) -> tuple[dict[str, Boxes], tuple[int, ...]]:
    """Objects in each picture, as shares of its width and height, and the numbers of all categories in order.

    Pictures are known by ``file_name``, their path below the data set or its last part.

    Raises:
        InputError: the file is missing or none of COCO's format, or does not have one of the pictures.
    """
    data = _read(path)
    try:
        content = json.loads(data)
        images = {image["file_name"]: image for image in content["images"]}
        boxes: dict[Any, list[tuple[list[float], int, bool]]] = {image["id"]: [] for image in content["images"]}
        for each in content["annotations"]:
            boxes[each["image_id"]].append((each["bbox"], each["category_id"], bool(each.get("iscrowd", 0))))
        categories = tuple(sorted(int(each["id"]) for each in content["categories"]))
        last = Counter(PurePath(name).name for name in names)
        found = {}
        for name in names:
            short = PurePath(name).name
            image = images.get(name) or (images.get(short) if last[short] == 1 else None)
            if image is None:
                raise InputError(
                    f"{path} does not have the picture {name}. Give a folder whose pictures are all among its images."
                )
            found[name] = _boxes(boxes[image["id"]], image["width"], image["height"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no file of COCO annotations ({type(error).__name__}: {error}). Needed are images with id, "
            "file_name, width and height, annotations with image_id, category_id and bbox, and categories with id."
        ) from error
    return found, categories


def read_texts(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Text of each picture, from a JSON object of texts by the picture's path below the data set.

    Raises:
        InputError: the file is missing or no such object, or does not have one of the pictures.
    """
    data = _read(path)
    try:
        content = json.loads(data)
        found = {name: content[name] for name in names}
        if not all(isinstance(text, str) for text in found.values()):
            raise TypeError("a value is no text")
    except KeyError as error:
        raise InputError(f"{path} does not have the picture {error.args[0]}. Give the text of every picture.") from None
    except (ValueError, TypeError) as error:
        raise InputError(f'{path} is no JSON object such as {{"page.png": "its text"}} ({error}).') from error
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check the path and its rights.") from error


def _boxes(given: Sequence[tuple[list[float], int, bool]], width: float, height: float) -> Boxes:
    corners = np.array([box for box, _, _ in given], dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    kinds = np.array([kind for _, kind, _ in given], dtype=np.int64)
    crowd = np.array([crowd for _, _, crowd in given], dtype=bool)
    return Boxes(corners / [width, height, width, height], kinds, np.zeros(len(given)), crowd)
