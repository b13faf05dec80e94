"""Tasks of ``encode``: a picture, and the files that are to come of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress.cli import files, output, places
from kcompress.cli.encode_options import Codecs
from kcompress.cli.files import Job, Wanted
from kcompress.cli.places import STREAM
from kcompress.errors import UsageError

if TYPE_CHECKING:
    from kcompress.codecs import Codec
    from kcompress.search.plan import EncodePlan


@dataclass(frozen=True)
class Task:
    """One picture: a file for each plan, or with ``best`` one by the plan whose file is smallest."""

    source: str
    choices: tuple[tuple["EncodePlan", Job], ...]
    best: bool = False


def unfinished(
    jobs: Sequence[Job], several: int, *, best: bool, force: bool, skip_existing: bool
) -> list[list[tuple[int, Job]]]:
    """Jobs that are left of each picture, with the numbers of their codecs; ``jobs`` has ``several`` for each.

    With ``best`` a picture is finished by a file of any codec.
    """
    groups = [jobs[place : place + several] for place in range(0, len(jobs), several)]
    if best:
        done = [any(job.finished for job in group) for group in groups]
        groups = [
            [replace(job, finished=is_done) for job in group] for group, is_done in zip(groups, done, strict=True)
        ]
        files.unfinished([group[0] for group in groups], force=force, skip_existing=skip_existing)  # which counts them
    else:
        files.unfinished(jobs, force=force, skip_existing=skip_existing)
    left = [[(number, job) for number, job in enumerate(group) if not job.finished] for group in groups]
    return [group for group in left if group]


def codecs_for(asked: Codecs | None, target: str | None) -> "tuple[list[Codec], bool]":
    """Codecs, and whether a bare stream is wanted: by name, by the output's suffix, or JPEG.

    Raises:
        UsageError: the output is a file that none of them writes, or there is one for several.
    """
    from kcompress.codecs import CODECS
    from kcompress.images import SUFFIXES

    names_file = target is not None and target != STREAM and not places.names_folder(target)
    # A name that is nothing but a suffix, .webp, says what it wants too.
    suffix = Path("x" + Path(target or "").name).suffix.lower() if names_file else ""
    by_suffix = next(
        (codec for codec in CODECS.values() if suffix in (*codec.suffixes, *codec.raw_suffixes)), None
    )  # fmt: skip
    if asked is None:
        if suffix and by_suffix is None:
            known = " ".join(known for codec in CODECS.values() for known in (*codec.suffixes, *codec.raw_suffixes))
            raise UsageError(
                f"-o {output.name(target or '')}: no codec writes {suffix} files. Take one of {known}, or --codec."
            )
        chosen = [by_suffix or CODECS["jpeg"]]
    else:
        chosen = [CODECS[name] for name in asked.names]
        if len(chosen) > 1 and suffix:
            raise UsageError(
                f"-o {output.name(target or '')} is one file, and {', '.join(asked.names)} write several kinds. Give a "
                "folder, ending in /."
            )
        if len(chosen) > 1 and target == STREAM and not asked.best:
            raise UsageError(
                f"-o -: the files of {', '.join(asked.names)} cannot go to stdout together. Give a folder."
            )
        if by_suffix not in chosen and (by_suffix is not None or suffix in SUFFIXES):
            other = f", or take --codec {by_suffix.name}" if by_suffix else ""
            raise UsageError(
                f"--codec {chosen[0].name} does not write {suffix} files. Give -o a name in {chosen[0].suffixes[0]}"
                f"{other}."
            )
    return chosen, suffix in chosen[0].raw_suffixes


def in_place_jobs(
    asked: Codecs | None, sources: Sequence[str], backup: str | None, wanted: Wanted | None
) -> "tuple[list[Codec], list[list[tuple[int, Job]]]]":
    """Codecs of the files by their suffixes, and for each file the number of its codec and its job.

    Raises:
        UsageError: several codecs are asked for, or stdin is among the files.
        InputError: nothing to do.
    """
    from kcompress.codecs import CODECS
    from kcompress.images import SUFFIXES

    if asked is not None and len(asked.names) > 1:
        raise UsageError(
            f"--in-place keeps the format of each file, and --codec {','.join(asked.names)} asks for several."
        )
    known = [codec for codec in CODECS.values() if asked is None or codec.name in asked.names]
    by_suffix = {suffix: codec for codec in known for suffix in codec.suffixes if suffix in SUFFIXES}
    jobs = files.plan_in_place(sources, frozenset(by_suffix), backup=backup, wanted=wanted)
    codecs = [by_suffix.get(Path(job.source).suffix.lower(), known[0]) for job in jobs]
    there = [codec for codec in known if codec in codecs]
    return there, [[(there.index(codec), job)] for codec, job in zip(codecs, jobs, strict=True)]
