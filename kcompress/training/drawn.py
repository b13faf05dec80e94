"""Drawn pages, as screens show them: text in all sizes on plain ground, with boxes, lines and a slope of colours."""

import numpy as np
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from kcompress.images import Pixels

_LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,;:-+=()%/ eeeee tttt aaaa nnn"


def page(side: int, random: np.random.Generator) -> Pixels:
    """A page of ``side`` x ``side`` pixels."""

    def colour(low: int, high: int) -> tuple[int, int, int]:
        red, green, blue = (int(value) for value in random.integers(low, high, 3))
        return red, green, blue

    dark = random.random() < 0.3
    ground, ink = ((10, 60), (150, 256)) if dark else ((200, 256), (0, 130))
    picture = Pil.new("RGB", (side, side), colour(*ground))
    draw = ImageDraw.Draw(picture)
    if random.random() < 0.4:
        left, right = np.array(colour(0, 256)), np.array(colour(0, 256))
        rows = int(random.integers(side // 8, side // 2))
        slope = np.linspace(left, right, side).round().astype(np.uint8)
        picture.paste(Pil.fromarray(np.broadcast_to(slope, (rows, side, 3)).copy()), (0, 0))
    for _ in range(int(random.integers(6))):
        corner, size = random.integers(0, side, 2), random.integers(4, side // 2, 2)
        box = [*map(int, corner), *map(int, corner + size)]
        draw.rectangle(box, fill=colour(0, 256) if random.random() < 0.5 else None, outline=colour(*ink))
    top = int(random.integers(0, 12))
    while top < side:
        height = int(random.choice([9, 11, 12, 13, 15, 18, 24, 36]))
        text = "".join(random.choice(list(_LETTERS), 90))
        draw.text((int(random.integers(-20, 20)), top), text, fill=colour(*ink), font=ImageFont.load_default(height))
        top += round(height * random.uniform(1.1, 2.2))
    return np.asarray(picture, dtype=np.uint8)
