"""Butteraugli, 3-norm, by libjxl's ``butteraugli_main``.

Source: Alakuijala et al., github.com/google/butteraugli; the 3-norm over the map of differences is what libjxl uses to
compare encoders. Viewing conditions: 80 nits for white.
"""

import re
from collections.abc import Callable

from kcompress.errors import ProgramError
from kcompress.images import Image, Pixels, pnm
from kcompress.programs import BUTTERAUGLI, scratch_folder

SMALLEST_SIDE = 8  # below, the program finds no difference in anything


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """A function that scores distorted pixels (H, W, 3) against the original's.

    The score is 0 for identical pictures, about 1 at the threshold of visibility, without an upper bound.

    Raises (the function):
        ProgramError: the program failed or printed no 3-norm.
    """
    original_file = pnm(Image(original))

    def score(distorted: Pixels) -> float:
        with scratch_folder() as folder:
            one, other = folder / "original.ppm", folder / "distorted.ppm"
            one.write_bytes(original_file)
            other.write_bytes(pnm(Image(distorted)))
            arguments = [str(one), str(other), "--pnorm", "3", "--intensity_target", "80"]
            printed = BUTTERAUGLI.run(arguments).decode(errors="replace")
        found = re.search(r"3-norm: ([-+.\deE]+)", printed)
        if found is None:
            raise ProgramError("butteraugli_main printed no 3-norm. Install the one of libjxl 0.7 or newer.")
        return float(found.group(1))

    return score
