"""``kcompress decode``: any file that encode writes, back to pixels."""

from pathlib import Path
from typing import Annotated

import typer

from kcompress import storage
from kcompress.cli import files, options, output
from kcompress.cli.files import STREAM
from kcompress.cli.reporting import reported
from kcompress.errors import UsageError, work_on

_FORMATS = {".png": "PNG", ".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


@reported
def decode(
    source: Annotated[str, typer.Argument(metavar="FILE", help="JPEG, WebP, HEIC, HEVC stream or BPG; - for stdin.")],
    target: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="PNG, PPM, TIFF or BMP by suffix; - for PNG on stdout. "
                     "[default: a PNG beside the file]"),
    ] = None,
    metadata: options.Metadata = options.MetadataName.icc,
    frame: options.Frame = None,
    force: options.Force = False,
) -> None:  # fmt: skip
    """Decode a compressed picture to a lossless file.

    \b
    kcompress decode photo.bpg
    kcompress decode photo.heic -o photo.ppm
    """  # noqa: D301 (Click wants a real backspace)
    from kcompress.codecs import decode as expand
    from kcompress.images import fitted, write

    if files.is_folder(source):
        raise UsageError(f"{output.name(source)} is a folder, and decode takes one file. Name it.")
    planned = files.plan([source], target, ".png", frozenset(), force=force)[0]
    suffix = ".png" if planned.target == STREAM else Path(planned.target).suffix.lower()
    if suffix not in _FORMATS:
        known = " ".join(_FORMATS)
        raise UsageError(f"-o {output.name(planned.target)}: the suffix says no format that is known. Take {known}.")
    if planned.refusal is not None:
        raise planned.refusal

    def decoded() -> bytes:
        with work_on(output.name(source)):
            image = expand(files.read(source), output.name(source), metadata.value, frame, strict=True)
            image = fitted(image, _FORMATS[suffix])  # type: ignore[arg-type]
            for note in image.notes:
                output.say(f"note: {note}", style="yellow")
            if image.alpha is not None and suffix in (".ppm", ".bmp"):
                raise UsageError(f"{suffix} has no alpha channel and the picture is partly transparent. Write .png.")
            return write(image, _FORMATS[suffix])  # type: ignore[arg-type]

    if planned.target == STREAM:
        with output.guarded_stdout() as stdout:
            stdout.write(decoded())
    else:
        storage.write(planned.target, decoded(), replace=force)
