"""Names of output files for input files and folders."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kcompress import storage, urls
from kcompress.cli import places
from kcompress.cli.output import name, say
from kcompress.cli.places import STREAM, is_folder, names_folder
from kcompress.errors import InputError, KcompressError, OutputError, UnsupportedError, UsageError

Wanted = Callable[[Path], bool]


@dataclass(frozen=True)
class Job:
    """One picture to do: from where, to where; or why that cannot be, or that it is done already.

    Attributes:
        backup: file that the original goes to before it is replaced.
    """

    source: str
    target: str
    refusal: KcompressError | None = None
    finished: bool = False
    backup: str | None = None

    @property
    def in_place(self) -> bool:
        """Whether the result replaces its source."""
        return self.target == self.source != STREAM


def plan(
    sources: Sequence[str], output: str | None, suffixes: Sequence[str], known: frozenset[str], *, force: bool,
    skip_existing: bool | None = None, wanted: Wanted | None = None, otherwise: str = "Give -o.",
) -> list[Job]:  # fmt: skip
    """Pair every input with its outputs, one for each suffix; those of an input follow one another.

    Args:
        sources: files, folders (searched through), ``-``.
        output: a file, a folder, ``-``, or None for beside the input.
        suffixes: of the output files.
        known: suffixes of the files taken from folders.
        force: whether existing files may be overwritten.
        skip_existing: whether pictures are finished whose files exist, results among the inputs too; None where there
            is no such option.
        wanted: whether a file of a folder, by its path below it, is taken; None for all.
        otherwise: advice where a result would replace an input.

    Raises:
        UsageError: several pictures and one output, or an empty name.
        InputError: nothing to do.
    """
    if "" in (*sources, output):
        raise UsageError("a file name is empty. Name a file or a folder.")
    sources, output = [urls.local(source) for source in sources], urls.local(output) if output else output
    found = expanded(sources, output, known, wanted)
    if len(found) > 1 and (output == STREAM or (output is None and STREAM in sources)):
        raise UsageError(f"{len(found)} pictures cannot go to stdout together. Give -o FOLDER.")
    several = len(found) > 1 or any(map(is_folder, sources))
    into_folder = output is not None and output != STREAM and (several or names_folder(output))
    if into_folder and output is not None and not is_folder(output) and (
        storage.mode(output) or (Path(output).suffix and not names_folder(output))
    ):  # fmt: skip
        raise UsageError(f"-o {name(output)} names a file and a folder is needed: end its name in /.")
    if len(suffixes) > 1 and output not in (None, STREAM) and not into_folder:
        raise UsageError(
            f"-o {name(output or '')} names a file, and there are several results. Give a folder, ending in /."
        )
    if skip_existing and len(suffixes) > 1:  # results of the run before are no pictures from which names come apart
        targets = {
            (places.target(*pair, output, suffix, into_folder), pair[0]) for pair in found for suffix in suffixes
        }
        results = {places.identity(target) for target, source in targets if target not in (source, STREAM)}
        found = [pair for pair in found if pair[0] == STREAM or places.identity(pair[0]) not in results]
    each = [
        _apart([(source, places.target(source, below, output, suffix, into_folder)) for source, below in found])
        for suffix in suffixes
    ]
    pairs = [pair for results in zip(*each, strict=True) for pair in results]
    if skip_existing:  # results of the run before, beside their pictures
        results = {places.identity(target) for source, target in pairs if target not in (source, STREAM)}
        pairs = [pair for pair in pairs if pair[0] == STREAM or places.identity(pair[0]) not in results]
    exists = places.presence([output] if into_folder and output else filter(is_folder, sources))
    jobs: list[Job] = []
    inputs = {places.identity(source) for source, _ in pairs if source != STREAM}
    taken: dict[str, str] = {}
    for source, target in pairs:
        refusal: KcompressError | None = None
        finished = False
        if source != STREAM and not _may_exist(source):
            refusal = InputError(f"{name(source)} does not exist. Check the path.")
        elif target != STREAM:
            real = places.real(target)
            if places.identity(target) == places.identity(source):
                refusal = OutputError(
                    f"{name(source)} would be written over itself: {name(target)} is also an input. {otherwise}"
                )
            elif places.identity(target) in inputs:
                refusal = OutputError(
                    f"{name(source)} would become {name(target)}, which is also an input and would be lost. {otherwise}"
                )
            elif real in taken:
                refusal = OutputError(f"{name(target)} is already the output of {name(taken[real])}. Give another -o.")
            elif skip_existing and exists(target):
                finished = True
            elif not force and exists(target) and not storage.is_device(target):
                leave = "" if skip_existing is None else "--skip-existing to leave it, "
                refusal = OutputError(f"{name(target)} exists. Give --force to overwrite it, {leave}or another -o.")
            taken.setdefault(real, source)
        jobs.append(Job(source, target, refusal, finished))
    return jobs


def plan_in_place(
    sources: Sequence[str], known: frozenset[str], *, backup: str | None, wanted: Wanted | None = None
) -> list[Job]:
    """A job for every file, once, whose result is to replace it; ``known`` suffixes alone can be.

    Raises:
        InputError: nothing to do.
        UsageError: stdin is among them.
    """
    sources, backup = [urls.local(source) for source in sources], urls.local(backup) if backup else backup
    if STREAM in sources:
        raise UsageError("--in-place: stdin is no file that could be replaced. Leave - or --in-place out.")
    far = next(filter(urls.is_url, (*sources, backup or "")), None)
    if far is not None:
        raise UsageError(f"--in-place: {name(far)} is not on this machine, where files are replaced safely. Give -o.")
    jobs: dict[tuple[int, int] | str, Job] = {}
    advice = "--in-place keeps the format of each file. Give -o to compress others."
    found = expanded(sources, backup, known, wanted, advice)
    inputs = set() if backup is None else {places.real(source) for source, _ in found}
    for source, below in found:
        place = None if backup is None else str(Path(backup, below or Path(source).name))
        refusal: KcompressError | None = None
        if not os.path.lexists(source):
            refusal = InputError(f"{name(source)} does not exist. Check the path.")
        elif Path(source).suffix.lower() not in known:
            refusal = UnsupportedError(
                f"{name(source)} cannot be replaced: --in-place keeps the format, and takes {' '.join(sorted(known))} "
                "files. Give -o instead."
            )
        elif place is not None and places.real(place) in inputs:
            refusal = OutputError(
                f"--backup {name(backup or '')}: the original of {name(source)} would be kept as {name(place)}, "
                "which is itself an input. Give another folder."
            )
        jobs.setdefault(places.identity(source), Job(source, source, refusal, backup=place))
    return list(jobs.values())


def expanded(
    sources: Sequence[str], output: str | None, known: frozenset[str], wanted: Wanted | None = None, advice: str = ""
) -> list[tuple[str, Path | None]]:
    """Every input file, with its path below the folder it was found in; None for files named one by one.

    Raises:
        InputError: there is none.
    """
    there = [pair for source in sources for pair in places.below(source, output, known)]
    found = [(source, below) for source, below in there if below is None or wanted is None or wanted(below)]
    if there and not found:
        raise InputError(f"--include and --exclude leave none of {len(there)} pictures. Give others.")
    if not found:
        searched = ", ".join(map(name, sources)) or "an empty list"
        raise InputError(
            f"no picture was found in {searched}. Known are {' '.join(sorted(known))} files. {advice}".rstrip()
        )
    return found


def unfinished(jobs: Sequence[Job], *, force: bool, skip_existing: bool) -> list[Job]:
    """Jobs that are left to do; those that are finished are counted for people.

    Raises:
        UsageError: both options at once.
    """
    if force and skip_existing:
        raise UsageError("--force and --skip-existing exclude each other. Leave one out.")
    left = [job for job in jobs if not job.finished]
    if len(left) < len(jobs):
        say(f"{len(jobs) - len(left)} of {len(jobs)} pictures are there already")
    return left


def _apart(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same pairs, but where pictures would share a result, as ``a.jpg`` and ``a.png`` do, it has their suffix too.

    Which of them is the better source, or whether they are one picture at all, no name tells: both are kept.
    """
    claims: dict[str, list[str]] = {}
    for source, target in pairs:
        if target not in (source, STREAM) and _may_exist(source):
            claims.setdefault(places.real(target), []).append(Path(source).name)
    shared = {target: names for target, names in claims.items() if len(set(names)) == len(names) > 1}
    if not shared:
        return pairs
    apart = [
        (source, places.beside(target, Path(source).name + Path(target).suffix))
        if target not in (source, STREAM) and places.real(target) in shared
        else (source, target)
        for source, target in pairs
    ]
    first = next(after for (_, after), (_, before) in zip(apart, pairs, strict=True) if after != before)
    say(
        f"note: {sum(map(len, shared.values()))} pictures differ from another by their suffix alone, which stays in "
        f"the name of the result, as in {name(Path(first).name)}",
        style="yellow",
    )
    return apart


def _may_exist(source: str) -> bool:
    """Whether it is there, a broken link included; what is behind a URL shows that when it is read."""
    return urls.is_url(source) or os.path.lexists(source)
