"""Options that several commands share: each spelled and explained once. Nothing heavy is imported here."""

import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kcompress.errors import MissingProgramError, UsageError


class CodecName(StrEnum):
    """What ``--codec`` takes."""

    jpeg = "jpeg"
    webp = "webp"
    hevc = "hevc"
    bpg = "bpg"


class ChromaName(StrEnum):
    """What ``--chroma`` takes."""

    half = "420"
    full = "444"


class MetadataName(StrEnum):
    """What ``--metadata`` takes."""

    icc = "icc"
    all = "all"
    none = "none"


# Typer resolves these at run time, where Optional reads well in its help.
Codec = Annotated[
    CodecName | None, typer.Option("--codec", "-c", help="Codec. Without it, the suffix of -o decides; else jpeg.")
]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", "-q",
        help="On the codec's own scale: JPEG and WebP 0..100, higher is better (75); "
        "HEVC and BPG QP 0..51, lower is better (28 and 29).",
    ),
]  # fmt: skip
Network = Annotated[
    str | None,
    typer.Option("--network", "-n", help="Preprocessor: none, shrink, rdo, feedback or kuchen, or npp for machines; "
                 "auto takes the one that measures best on each picture. See doctor for what is installed. "
                 "[default: rdo for jpeg, else feedback]"),
]  # fmt: skip
Device = Annotated[str, typer.Option(help="Where the network runs: auto, cpu, cuda or cuda:N.")]
Backend = Annotated[str, typer.Option(help="Encoder: auto, or a name that doctor shows.")]
Strength = Annotated[float, typer.Option(help="Between the untouched picture (0) and the network's (1).")]
Refine = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Steps of optimisation on each picture, judged by the real encoder: JPEG's "
                 "decisions on coefficients (try 60; minutes a megapixel), elsewhere the strength (try 8)."),
]  # fmt: skip
Chroma = Annotated[ChromaName | None, typer.Option(help="Chroma sampling. WebP has 420 only. [default: 420]")]
Effort = Annotated[
    int | None,
    typer.Option(help="More is slower and smaller: JPEG 0 sequential, 1 progressive (1); WebP 0..6 (4); "
                 "HEVC 0..9 (6) and BPG 1..9 (8), x265's presets."),
]  # fmt: skip
Metadata = Annotated[
    MetadataName,
    typer.Option(help="Keep the ICC profile, that and EXIF and XMP, or nothing (colours become sRGB)."),
]
Background = Annotated[str | None, typer.Option(help="Flatten transparency over a colour: white, #rrggbb, rgb(r,g,b).")]
Frame = Annotated[int | None, typer.Option(help="Which picture of an animation or of several pages, from 0.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Pictures at a time. [default: number of cores]")]
WeightsFile = Annotated[
    Path | None, typer.Option("--weights", help="Weights (.safetensors) in place of those that came along.")
]
TaskWeights = Annotated[
    str | None,
    typer.Option("--task-weights", metavar="TASK|FILE", help="Of npp: the task whose needs it keeps, or a file."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="SPEC",
        help="Model that pictures are for: .pt2, TorchScript, .onnx (bench alone), fastestdet:FILE, torchvision:NAME, "
        "or a classifier that came along; after a colon size=224,mean=imagenet,range=255,order=bgr."
    ),
]  # fmt: skip
Labels = Annotated[
    bool,
    typer.Option("--labels", help="Pictures lie in one folder a class. Without, the truth is what the model itself "
                 "says of the uncompressed picture."),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")]


def listed(text: str) -> list[str]:
    """Names with commas between."""
    return [part.strip() for part in text.split(",") if part.strip()]


def chosen(text: str, option: str, known: Iterable[str]) -> list[str]:
    """Names with commas between, each once, all of them known.

    Raises:
        UsageError: one is not, or there is none.
    """
    names = list(dict.fromkeys(listed(text)))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        which = ", ".join(unknown) or "nothing"
        raise UsageError(f"{option} {text}: {which} is not known. Allowed: {', '.join(known)}.")
    return names


def metrics(text: str) -> tuple[str, ...]:
    """Metrics with commas between, all of them installed.

    Raises:
        UsageError: one is not known.
        MissingProgramError: one needs what is not installed.
    """
    from kcompress.metrics import METRICS

    names = chosen(text, "--metric", METRICS)
    for name in names:
        if not METRICS[name].available():
            raise MissingProgramError(f"--metric {name} is not installed. {METRICS[name].install}")
    return tuple(names)


def cores() -> int:
    """Processor cores this process may use: the default of ``--jobs``."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where programs keep what they could compute again (XDG base directories)."""
    return (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kcompress").absolute()
