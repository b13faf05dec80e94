"""Pictures: reading, writing, and the value that travels between the files, the networks and the codecs."""

from kcompress.images.colour import by_codes, with_colour
from kcompress.images.icc import is_grey_profile
from kcompress.images.image import Image, Metadata, Pixels, bits_per_pixel, luma, rounded
from kcompress.images.limits import MAX_PIXELS, check_size, max_pixels
from kcompress.images.reading import SUFFIXES, apply_metadata_policy, read, read_canonical
from kcompress.images.resizing import Resize
from kcompress.images.writing import fitted, pillow, pnm, write

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Image",
    "Metadata",
    "Pixels",
    "Resize",
    "apply_metadata_policy",
    "bits_per_pixel",
    "by_codes",
    "check_size",
    "fitted",
    "is_grey_profile",
    "luma",
    "max_pixels",
    "pillow",
    "pnm",
    "read",
    "read_canonical",
    "rounded",
    "with_colour",
    "write",
]
