"""Documents say what is so: their commands parse, their links lead somewhere, their Python runs."""

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import kcompress
from kcompress import errors
from kcompress.cli import app
from kcompress.codecs import CODECS
from kcompress.labels import Row
from kcompress.metrics import METRICS
from kcompress.networks import DEFAULTS, NETWORKS
from kcompress.pool.filters import FILTERS

pytestmark = pytest.mark.encoders

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *(ROOT / name / "README.md" for name in ("weights", "tests/benchmarks", "kcompress"))]
INTERRUPTED = {130, 143}


def _name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def _blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


def _commands(document: Path) -> Iterator[list[str]]:
    """Words of every simple command, in blocks of sh and in backticks."""
    inline = re.findall(r"`((?:kcompress|python -m kcompress\S*) [^`]+)`", document.read_text())
    for line in [*"".join(_blocks(document, "sh")).splitlines(), *inline]:
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("|", "&&"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def _arguments(words: list[str], program: str) -> list[str] | None:
    """What a program is given, without redirections; None where the command is of another."""
    if Path(words[0]).name != program:
        return None
    end = next((place for place, word in enumerate(words) if word.startswith(">")), len(words))
    return words[1:end]


COMMANDS = [(document, words) for document in DOCUMENTS for words in _commands(document)]
OURS = [
    pytest.param(arguments, id=f"{_name(document)}: {' '.join(arguments)}")
    for document, words in COMMANDS
    if (arguments := _arguments(words, "kcompress"))
]


def test_commands_are_found() -> None:
    found = {parameters.values[0][0] for parameters in OURS}
    assert found >= {"encode", "decode", "compare", "bench", "label", "train"}


@pytest.mark.parametrize("arguments", OURS)
def test_every_command_parses(arguments: list[str]) -> None:
    command = get_command(app)
    while arguments and (inner := getattr(command, "commands", {}).get(arguments[0])) is not None:
        command, arguments = inner, arguments[1:]
    if hasattr(command, "commands"):  # an option of kcompress itself
        assert set(arguments) <= {option for parameter in command.params for option in parameter.opts}, arguments
        return
    command.make_context("kcompress", list(arguments))  # parses, checks and converts; it does not run


def test_every_script_and_module_is_there() -> None:
    found = [arguments for _, words in COMMANDS if (arguments := _arguments(words, "python"))]
    found += [arguments for _, words in COMMANDS if (arguments := _arguments(words, "bash"))]
    assert found
    for arguments in found:
        if arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]), arguments
        else:
            assert (ROOT / arguments[0]).is_file(), arguments


def _anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = document if not path else (document.parent / path).resolve()
        if target.is_relative_to(ROOT / "kcompress") and target.suffix != ".md":  # which is where it was installed
            target = Path(kcompress.__file__).parent / target.relative_to(ROOT / "kcompress")
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 230


def test_the_set_up_can_be_run_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"## Set up\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    (arguments,) = re.findall(r"kcompress encode (.*)", block)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        result = CliRunner().invoke(app, ["encode", *shlex.split(arguments)])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "lake.webp").is_file()


def test_training_needs_nothing_but_the_plain_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    assert {"accelerate", "onnx", "onnxscript"} <= plain
    assert project["optional-dependencies"]["train"] == []  # commands of old still work
    assert not any("[train]" in document.read_text() for document in DOCUMENTS)


def test_the_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = _blocks(ROOT / "README.md", "python")
    monkeypatch.chdir(ROOT)
    exec(compile(block, "README.md", "exec"), {})
    size, bpp, _ = capsys.readouterr().out.split()
    assert float(bpp) == pytest.approx(8 * int(size) / (640 * 400))


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = re.search(r"## Exit codes\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    assert rows is not None
    told = {int(code) for cells in re.findall(r"^\| ([\d, ]+) \|", rows[1], re.M) for code in cells.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.KcompressError)}
    assert told == {0, *INTERRUPTED, *codes}


def _table(document: str, header: str) -> list[list[str]]:
    """Cells of the table whose first column is called so, row by row."""
    text = (ROOT / document).read_text()
    found = re.search(rf"^\| {re.escape(header)} \|.*\n\|[ \-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None, header
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in found[1].splitlines()]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_codecs_have_the_scales_that_are_told() -> None:
    rows = {name: cells for name, *cells in _table("README.md", "codec")}
    assert list(rows) == list(CODECS)
    for name, (files, quality, default, effort) in rows.items():
        codec = CODECS[name]
        low, high = sorted((codec.quality.finest, codec.quality.coarsest))
        better = "higher" if codec.quality.finest == high else "lower"
        assert f"{low}..{high}, {better} is better" in quality and int(default) == codec.quality.default
        low, high = sorted((codec.effort.finest, codec.effort.coarsest))
        assert str(low) in effort and str(high) in effort and f"({codec.effort.default})" in effort
        assert set(_names(files)) == {codec.suffixes[0], *codec.raw_suffixes}


def test_every_network_is_told_and_for_which_codecs_it_is_the_default() -> None:
    rows = {_names(name)[0]: cells for name, *cells in _table("README.md", "`--network`")}
    assert set(rows) == {*NETWORKS, "auto"}
    for name, (_, codecs, _) in rows.items():
        defaults = {codec for codec in CODECS if codec.lower() in codecs.lower() and "default" in codecs}
        assert defaults == {codec for codec, network in DEFAULTS.items() if network == name}


def test_every_metric_is_told() -> None:
    rows = _table("tests/benchmarks/README.md", "metric")
    told = {name: (better, int(side)) for cell, _, better, side in rows for name in _names(cell)}
    assert set(told) == set(METRICS)
    for name, (better, side) in told.items():
        assert better.startswith(METRICS[name].direction) and side == METRICS[name].smallest_side


def test_every_room_is_drawn() -> None:
    package = Path(errors.__file__).parent
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    drawing = re.search(r"^```\n(kcompress/.*?)^```", (ROOT / "kcompress/README.md").read_text(), re.DOTALL | re.M)
    assert drawing is not None
    assert rooms - {"__init__", "__main__"} <= set(re.findall(r"\w+", drawing[1]))


def test_every_filter_is_told() -> None:
    rows = {_names(name)[0]: _names(numbers) for name, _, numbers in _table("kcompress/README.md", "filter")}
    assert rows == {name: [number.name for number in kind.parameters] for name, kind in FILTERS.items()}


def test_every_column_of_labels_is_told() -> None:
    told = [name for cell, _ in _table("kcompress/README.md", "column of `labels.csv`") for name in _names(cell)]
    assert [*told, "scores"] == [field.name for field in fields(Row)]


def _json(*arguments: Path | str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    return dict(json.loads(result.stdout.splitlines()[0]))


def test_fields_of_json_are_told(tmp_path: Path) -> None:
    told = {
        name: fields.split("; with `--network auto`")[0] for name, fields in _table("kcompress/README.md", "`type`")
    }
    picture, result = ROOT / "tests" / "images" / "balloons-333x217.png", tmp_path / "out.jpg"
    doctor = "`encoder`, `metric`, `network`, `filter`, `model`, `device`, `default` (`doctor`, one a line)"
    lines = {
        "`encoded`": _json("encode", picture, "-o", result),
        "`compared` (`compare`, one a file)": _json("compare", picture, result, "--metric", "psnr"),
        "`error`": _json("encode", tmp_path / "missing.png", "-o", tmp_path / "none.jpg"),
        doctor: _json("doctor"),
    }
    for kind, line in lines.items():
        assert line.pop("type") in _names(kind)
        assert set(line) <= set(_names(told[kind])), kind
        assert set(_names(told[kind])) - set(line) <= {"420", "444", '"Infinity"'}, kind


def test_every_weight_file_is_told_with_its_size() -> None:
    cards = {path.stem: json.loads(path.read_text()) for path in (ROOT / "weights").glob("*.json")}
    told: dict[str, str] = {}
    for names, _, parameters, _ in _table("weights/README.md", "weights"):
        linked = re.findall(r"\[`([\w-]+)`\]\(\1\.json\)", names)
        counts = parameters.removesuffix(" each").split("; ")
        told |= dict(zip(linked, counts if len(counts) == len(linked) else counts * len(linked), strict=True))
    assert told == {name: f"{card['parameters']:,}" for name, card in cards.items()}
