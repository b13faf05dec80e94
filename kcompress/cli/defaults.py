"""Defaults of options from a file: ``kcompress.toml`` in the folder where one works, or else the user's."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

FILE = "kcompress.toml"
COMMANDS = ("encode", "decode", "compare", "label", "train", "bench", "doctor")
_BY_HAND = ("--force", "--in-place", "--output", "--help")
"""Options that no file may give: a folder from elsewhere could have one."""


def path() -> Path | None:
    """The file that counts: of ``KCOMPRESS_CONFIG`` (none where that is empty), of this folder, or the user's."""
    named = os.environ.get("KCOMPRESS_CONFIG")
    if named is not None:
        return Path(named) if named else None
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kcompress"
    return next((each for each in (Path(FILE), home / FILE) if each.is_file()), None)


def tables() -> dict[str, dict[str, Any]]:
    """Defaults by command and option, without dashes.

    Raises:
        typer.BadParameter: the file cannot be read, or has a table of no command.
    """
    file = path()
    if file is None:
        return {}
    import tomllib

    try:
        found = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"{file} cannot be read: {error}. Correct it, or set KCOMPRESS_CONFIG= for none."
        ) from None
    for name, table in found.items():
        if name not in COMMANDS or not isinstance(table, dict):
            raise typer.BadParameter(f"{file}: {name} is no table of a command. Allowed: {', '.join(COMMANDS)}.")
    return found


def of(command: str, parameters: Sequence[Any]) -> Mapping[str, object]:
    """Defaults of a command by the names of its parameters, as Click's ``default_map`` takes them.

    Raises:
        typer.BadParameter: an option that it does not have, or that stands on the command line alone.
    """
    known = {option: each for each in parameters for option in each.opts if option.startswith("--")}
    found: dict[str, object] = {}
    for name, value in tables().get(command, {}).items():
        option = f"--{name}"
        if option not in known or option in _BY_HAND:
            why = "is given on the command line alone" if option in known else "is no option of it"
            raise typer.BadParameter(f"{path()}: {name} in [{command}] {why}. Remove it.")
        parameter = known[option]
        if isinstance(value, list) > parameter.multiple or isinstance(value, bool) != parameter.is_flag:
            kind = "true or false" if parameter.is_flag else "text or a number"
            raise typer.BadParameter(f"{path()}: {name} in [{command}] is {value!r}, and takes {kind}. Correct it.")
        found[parameter.name] = _text(value, parameter.multiple)
    return found


def _text(value: object, multiple: bool) -> object:
    """A value as it would stand on the command line; what is no switch is text there, alone or ``multiple`` times."""
    if multiple:
        return [str(each) for each in (value if isinstance(value, list) else [value])]
    return value if isinstance(value, bool) else str(value)
