"""RapidOCR, a reader of printed text: PaddleOCR's detection and recognition in ONNX Runtime, models in its wheel."""

import importlib
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from kcompress.errors import MissingProgramError
from kcompress.machine.model import Layout, LoadedModel, digest_of
from kcompress.machine.text import encoded

NAME = "rapidocr"


def load_reader(spec: str) -> LoadedModel:
    """Load it. Its answer is the text of one picture, a line a line of text.

    Raises:
        MissingProgramError: it is not installed, or its models did not come along.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is imported
    try:
        rapidocr = importlib.import_module(NAME)
        importlib.import_module("rapidfuzz")
    except ImportError:
        raise MissingProgramError(
            f"the model {spec} needs RapidOCR, which is not installed. pip install 'kcompress[ocr]'"
        ) from None
    folder = Path(str(rapidocr.__file__)).parent / "models"
    models = {part: sorted(folder.glob(f"*_{part}_*.onnx")) for part in ("det", "cls", "rec")}
    missing = [part for part, found in models.items() if len(found) != 1]
    if missing:  # nothing is fetched behind the user's back
        raise MissingProgramError(
            f"the model {spec}: {folder} has not one model for each of det, cls and rec ({', '.join(missing)}). "
            "pip install --force-reinstall rapidocr; its wheel carries them."
        )
    files = [found[0] for found in models.values()]
    paths = {f"{part.capitalize()}.model_path": str(found[0]) for part, found in models.items()}
    # The same numbers on every machine; pictures run in parallel.
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    reader: Any = rapidocr.RapidOCR(params={"Global.log_level": "critical", **paths, **threads})
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)  # it reports pictures without text

    def read(pictures: Tensor) -> Tensor:
        pixels = (pictures[0].flip(0).permute(1, 2, 0) * 255).round().clamp(0, 255)  # BGR
        found = reader(np.ascontiguousarray(pixels.cpu().numpy().astype(np.uint8)))
        return encoded("\n".join(found.txts or ()))[None]

    return LoadedModel(
        NAME, read, partial(digest_of, *files), trainable=False, shape=(1, 3, None, None), layout=Layout.TEXT
    )
