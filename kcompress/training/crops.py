"""Parts of pictures (H, W, 3) that trainings look at."""

import numpy as np

from kcompress.images import Pixels


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """Shrink a picture whose shorter side is longer than ``side`` to that."""
    import cv2

    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return pixels
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def square(pixels: Pixels, side: int) -> Pixels:
    """The one in the middle of a picture that is shrunk to fit as tightly as it can; smaller ones are enlarged."""
    import cv2

    pixels = shrunk(pixels, side)
    if min(pixels.shape[:2]) < side:
        pixels = np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return middle(pixels, side)


def middle(pixels: Pixels, side: int) -> Pixels:
    """The middle of a picture, at most ``side`` pixels high and wide."""
    top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def holds(pixels: Pixels, side: int) -> bool:
    """Whether a picture has room for a square."""
    return bool(min(pixels.shape[:2]) >= side)


def random_crop(pixels: Pixels, side: int, random: np.random.Generator, grid: int = 1) -> Pixels:
    """A square from anywhere in a picture that has room for it, as a view; its corner is on multiples of ``grid``."""
    top, left = (grid * int(random.integers((length - side) // grid + 1)) for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def random_square(pixels: Pixels, side: int, random: np.random.Generator) -> Pixels:
    """A square from anywhere in a picture that has room for it, half of them mirrored."""
    cut = random_crop(pixels, side, random)
    return np.ascontiguousarray(cut[:, ::-1] if random.random() < 0.5 else cut)


def richest(pixels: Pixels, side: int) -> Pixels:
    """The square of the most detail among nine that are spread over a picture that has room for one."""
    import cv2

    detail = cv2.absdiff(pixels, cv2.GaussianBlur(pixels, (0, 0), 2.0)).sum(2)
    corners = [
        (round(down * (pixels.shape[0] - side)), round(right * (pixels.shape[1] - side)))
        for down in (0, 0.5, 1)
        for right in (0, 0.5, 1)
    ]
    top, left = max(corners, key=lambda at: int(detail[at[0] : at[0] + side, at[1] : at[1] + side].sum()))
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
