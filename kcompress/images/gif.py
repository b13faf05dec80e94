"""ICC profile of a GIF (application extension ``ICCRGBG1012``), which Pillow does not heed."""

_EXTENSION = b"\x21\xff\x0bICCRGBG1012"


def profile(data: bytes) -> bytes | None:
    """The profile, or None."""
    found = data.find(_EXTENSION)
    if found < 0:
        return None
    parts, place = [], found + len(_EXTENSION)
    while place < len(data) and data[place]:
        parts.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    return b"".join(parts) or None
