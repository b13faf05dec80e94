"""Options of ``encode`` alone. Nothing heavy is imported here."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kcompress.cli.files import Wanted
from kcompress.cli.options import CodecName, MetadataName, alias, by_name, listed
from kcompress.cli.places import STREAM, read
from kcompress.errors import UsageError
from kcompress.presets import PRESETS, Choice, PresetName

if TYPE_CHECKING:
    from kcompress.images import Resize
    from kcompress.search.target import Target as Goal

BEST = "best"
_SHOWN_BY_BROWSERS = ("jpeg", "webp", "avif")


@dataclass(frozen=True)
class Codecs:
    """Codecs by name, each to write a file, or with ``best`` the one whose file is smallest."""

    names: tuple[str, ...]
    best: bool = False


def _codecs(text: str) -> Codecs:
    head, _, rest = text.strip().partition(":")
    best = head.strip().lower() == BEST
    names = tuple(dict.fromkeys(map(alias, listed(rest if best else text)))) or (_SHOWN_BY_BROWSERS if best else ())
    unknown = [name for name in names if name not in [*CodecName]]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or text} is not known. Allowed: {', '.join(CodecName)}. Or several with commas "
            f"between, {BEST}, or {BEST}:jpeg,avif."
        )
    return Codecs(names, best)


Codec = Annotated[
    Codecs | None,
    typer.Option("--codec", "-c", parser=_codecs, metavar=f"[{'|'.join(CodecName)}|{BEST}]",
                 help="Codec, or several with commas between: a file of each. Best writes the smallest of jpeg, webp "
                 "and avif (or of best:jpeg,avif) that has the --target. Without it, the suffix of -o decides; else "
                 "jpeg."),
]  # fmt: skip
TargetSize = Annotated[
    str | None,
    typer.Option("--target-size", metavar="BYTES", help="Largest size of each file, such as 200k: the quality that "
                 "fits is searched for, in place of -q."),
]  # fmt: skip
TargetBpp = Annotated[
    float | None, typer.Option("--target-bpp", metavar="BPP", help="The same in bits per pixel, such as 0.5.")
]
Target = Annotated[
    str | None,
    typer.Option("--target", metavar="[METRIC=]SCORE", help="Score that each file is to have, such as 80, which means "
                 "ssimulacra2=80: the quality is searched for. The same number means the same with every codec."),
]  # fmt: skip


def _before_the_file(context: typer.Context, preset: PresetName) -> PresetName:
    """A preset of the command line goes before what ``kcompress.toml`` says of the options that it sets."""
    if getattr(context.get_parameter_source("preset"), "name", None) == "COMMANDLINE":
        context.default_map = {
            name: value for name, value in (context.default_map or {}).items() if name not in Choice._fields
        }
    return preset


def _presets() -> str:
    """All presets for the help."""
    return "; ".join(
        f"{name}: {', '.join(f'{codec} {preset}' for codec, preset in by_codec.items())}"
        for name, by_codec in PRESETS.items() if by_codec
    )  # fmt: skip


Preset = Annotated[
    PresetName,
    typer.Option(**by_name(PresetName), callback=_before_the_file, is_eager=True,
                 help=f"Time that a file is worth, where --network, --effort and --refine do not say. {_presets()}."),
]  # fmt: skip

MinSaving = Annotated[
    str,
    typer.Option("--min-saving", metavar="PERCENT|off", help="Where the input is of the same codec and the result is "
                 "not smaller by this (HEIC and AVIF by 10 at least), the input is kept. Off always encodes."),
]  # fmt: skip
MaxSide = Annotated[
    int | None, typer.Option("--max-side", min=1, metavar="PIXELS", help="Make larger pictures smaller first.")
]
Scale = Annotated[float | None, typer.Option("--scale", metavar="SHARE", help="The same by a share of each side: 0.5.")]

Metadata = Annotated[
    MetadataName | None,
    typer.Option(
        **by_name(MetadataName), help="Keep the ICC profile, that and EXIF and XMP, or nothing (colours become sRGB). "
        "[default: icc; all with --in-place]"
    ),
]  # fmt: skip
InPlace = Annotated[
    bool, typer.Option("--in-place", help="Replace each file by its result in the same format, where that is smaller.")
]
Backup = Annotated[
    str | None, typer.Option("--backup", metavar="DIR", help="With --in-place: where originals are kept.")
]
KeepTimes = Annotated[bool, typer.Option("--keep-times", help="Results have the time of change of their inputs.")]
FilesFrom = Annotated[
    str | None,
    typer.Option("--files-from", metavar="FILE", help="File with names of pictures, one a line; - for stdin."),
]
Null = Annotated[bool, typer.Option("-0", "--null", help="Names of --files-from end in a null byte: find -print0.")]
Include = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Of folders, take only pictures whose name or path matches; may be repeated."),
]
Exclude = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Of folders, leave such pictures out.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, with sizes estimated from a sample; write nothing.")
]
Report = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Results as a table (.csv), or as a page with pictures, worst first (.html); "
                 "may be repeated."),
]  # fmt: skip

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def sources(inputs: Sequence[str], listed_in: str | None, null: bool) -> list[str]:
    """Names of pictures on the command line and in a list.

    Raises:
        UsageError: there are none, stdin is to be two things, or ``-0`` has no list.
        InputError: the list cannot be read.
    """
    if null and listed_in is None:
        raise UsageError("-0 belongs to --files-from. Give a list, such as --files-from -.")
    if listed_in is None:
        if not inputs:
            raise UsageError("no picture is named. Give files, folders, - for stdin, or --files-from.")
        return list(inputs)
    if listed_in == STREAM and STREAM in inputs:
        raise UsageError("stdin cannot be a picture and the list of --files-from. Leave one out.")
    data = read(listed_in)
    names = data.split(b"\0") if null else data.splitlines()
    return [*inputs, *(os.fsdecode(name) for name in names if name.strip())]


def wanted(include: Sequence[str] | None, exclude: Sequence[str] | None) -> Wanted | None:
    """Filter for files of folders, by globs on their names and their paths below the folder; None for all."""
    if not include and not exclude:
        return None

    def matches(below: Path, globs: Sequence[str]) -> bool:
        return any(fnmatch(text, glob) for glob in globs for text in (below.name, below.as_posix()))

    return lambda below: (not include or matches(below, include)) and not matches(below, exclude or ())


def background(text: str | None) -> tuple[int, int, int] | None:
    """Colour (R, G, B), each 0..255.

    Raises:
        UsageError: it is none, or has an alpha of its own.
    """
    if text is None:
        return None
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)  # type: ignore[misc]
    except ValueError:
        raise UsageError(f"--background {text} is no colour. Give a name (white), #rrggbb or rgb(r,g,b).") from None
    return red, green, blue


def min_saving(text: str) -> float | None:
    """Share of the bytes; None for ``off``.

    Raises:
        UsageError: neither that nor a percentage from 0 to below 100.
    """
    if text.strip().lower() == "off":
        return None
    found = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)\s*%?", text.strip())
    if found is None:
        raise UsageError(f"--min-saving {text} is no percentage. Give one from 0 to below 100, such as 2, or off.")
    return float(found[1]) / 100


def resize(max_side: int | None, scale: float | None) -> "Resize | None":
    """Reduction that is asked for, if any.

    Raises:
        UsageError: both ways at once, or a scale that is no share.
    """
    if max_side is not None and scale is not None:
        raise UsageError(f"--max-side {max_side} and --scale {scale:g} exclude each other. Leave one out.")
    if scale is not None and not 0 < scale <= 1:
        raise UsageError(f"--scale {scale:g} is no share. Give one above 0 and at most 1: pictures are not enlarged.")
    if max_side is None and scale is None:
        return None
    from kcompress.images import Resize

    return Resize(max_side, 1.0 if scale is None else scale)


def target(score: str | None, size: str | None, bpp: float | None, quality: int | None) -> "Goal | None":
    """Target that is asked for, if any.

    Raises:
        UsageError: two of them, a quality beside one, or one that nothing can have.
        MissingProgramError: its metric is not installed.
    """
    given = {
        f"--target {score}": score, f"--target-size {size}": size, f"--target-bpp {bpp}": bpp,
        f"--quality {quality}": quality,
    }  # fmt: skip
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1 and named != [f"--quality {quality}"]:
        raise UsageError(f"{' and '.join(named)} exclude each other. Leave {_others(named)} out.")
    from kcompress.search.target import BPP, SIZE, score_target
    from kcompress.search.target import Target as Goal

    if size is not None:
        return Goal(SIZE, _bytes(size))
    if bpp is not None:
        if not 0 < bpp <= 64:
            raise UsageError(f"--target-bpp {bpp} is no number of bits per pixel. Give one above 0, such as 0.5.")
        return Goal(BPP, bpp)
    return None if score is None else score_target(score)


def _others(named: list[str]) -> str:
    return named[-1] if len(named) == 2 else "all but one"


def _bytes(text: str) -> float:
    found = re.fullmatch(r"(\d*\.?\d+)\s*(|[kmg]i?)b?", text.strip().lower())
    count = float(found[1]) * _UNITS[found[2]] if found else 0
    if count < 1:
        raise UsageError(f"--target-size {text} is no size. Give bytes, or such as 200k, 1.5M or 300KiB.")
    return float(int(count))
