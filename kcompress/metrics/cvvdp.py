"""ColorVideoVDP of still pictures, by the package cvvdp (pycvvdp), in just-objectionable differences.

Source: Mantiuk et al., "ColorVideoVDP: A visual difference predictor for image, video and display distortions", ACM
Trans. Graphics 43 (2024). The display is the package's ``standard_4k``: 30 inches, 200 cd/m2, at 0.75 m.
"""

import functools
from collections.abc import Callable

import numpy as np

from kcompress.images import Pixels

DISPLAY = "standard_4k"

SMALLEST_SIDE = 8

INSTALL = (
    "pip install 'kcompress[cvvdp]'. It needs the torchvision of the torch that is there, such as 0.29.1 of 2.14.1."
)


@functools.cache
def available() -> bool:
    """Whether the package is there and can be imported."""
    try:
        import pycvvdp  # noqa: F401 (slow to load)
    except (ImportError, RuntimeError, OSError):  # a torchvision beside another torch than its own raises RuntimeError
        return False
    return True


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), on the CPU, no side below 8: 10 for no difference, less is worse."""
    import pycvvdp
    import torch

    judge = pycvvdp.cvvdp(display_name=DISPLAY, device=torch.device("cpu"))
    reference = np.ascontiguousarray(original)

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            return float(judge.predict(np.ascontiguousarray(distorted), reference, dim_order="HWC")[0])

    return score
