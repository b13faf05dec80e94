"""Rows in CSV: what is written is read; a kill at any byte leaves a readable file."""

from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path

import pytest

from kcompress.csv_rows import Journal, Rows
from kcompress.errors import InputError


@dataclass(frozen=True)
class Row:
    name: str
    number: int
    rate: float
    seconds: float | None
    scores: dict[str, float]


ROW = Row("a b/ü.png", 7, 8 * 100 / 15, 0.25, {"psnr": 31.25, "ssimulacra2": 70.12345678901235})
ROWS = Rows(Row, ("ssimulacra2", "psnr"))
NAMES = ["plain.png", 'quote",comma.png', "line\nfeed.png", "\udcff.png", ""]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def test_the_columns() -> None:
    assert ROWS.header == ["name", "number", "rate", "seconds", "ssimulacra2", "psnr"]


def test_round_trip(path: Path) -> None:
    rows = [replace(ROW, name=name, scores={"psnr": float("inf")}) for name in NAMES] + [ROW]
    ROWS.write(path, rows)
    assert ROWS.read(path) == rows
    assert list(path.parent.iterdir()) == [path]


def test_what_is_missing_is_an_empty_cell(path: Path) -> None:
    rows = [replace(ROW, seconds=None), replace(ROW, scores={}), replace(ROW, seconds=0.0)]
    ROWS.write(path, rows)
    assert [line.split(",")[3:] for line in path.read_text().splitlines()[1:]] == [
        ["", "70.12345678901235", "31.25"],
        ["0.25", "", ""],
        ["0.0", "70.12345678901235", "31.25"],
    ]
    assert ROWS.read(path) == rows


def test_annotations_may_be_text(path: Path) -> None:
    """Those of a module that postpones their evaluation."""
    kind = make_dataclass("kind", [("number", "int"), ("rate", "float | None"), ("scores", "dict[str, float]")])
    rows = [kind(1, None, {"psnr": 1.5}), kind(2, 0.5, {})]
    Rows(kind, ["psnr"]).write(path, rows)
    assert Rows(kind, ["psnr"]).read(path) == rows


def test_a_row_may_have_no_metrics(path: Path) -> None:
    Rows(Row, ()).write(path, [replace(ROW, scores={})])
    assert Rows(Row, ()).read(path) == [replace(ROW, scores={})]


def test_a_journal_goes_on(path: Path) -> None:
    for number in (10, 20):
        journal = Journal(ROWS, path)
        journal.append([replace(ROW, number=number)])
        journal.close()
    assert [row.number for row in ROWS.read(path)] == [10, 20]


def test_a_journal_is_on_the_disk_before_it_ends(path: Path) -> None:
    journal = Journal(ROWS, path)
    journal.append([ROW])
    assert ROWS.read(path) == [ROW]
    journal.close()


def test_a_journal_begins_an_empty_file(path: Path) -> None:
    path.touch()  # killed before its first line was on the disk
    journal = Journal(ROWS, path)
    journal.append([ROW])
    journal.close()
    assert ROWS.read(path) == [ROW]


def test_a_file_cut_anywhere_is_read_up_to_there(path: Path) -> None:
    ROWS.write(path, [replace(ROW, number=1), replace(ROW, name=NAMES[1], number=2, seconds=None)])
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        lines = max(0, whole[:length].count(b"\n") - 1)
        assert [row.number for row in ROWS.read(path)] == [1, 2][:lines]


def test_a_name_cut_at_its_line_break_is_never_taken_for_a_row(path: Path) -> None:
    ROWS.write(path, [ROW, replace(ROW, name="line\nfeed.png")])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"line\n") + 5])
    with pytest.raises(InputError, match="line 3, cannot be read"):
        ROWS.read(path)


def test_writing_is_whole_or_not_at_all(path: Path) -> None:
    ROWS.write(path, [ROW])
    with pytest.raises(ValueError, match="beauty"):
        ROWS.write(path, [ROW, replace(ROW, scores={"beauty": 1.0})])
    assert ROWS.read(path) == [ROW]
    ROWS.write(path, [ROW, ROW])  # what the other left does no harm
    assert ROWS.read(path) == [ROW, ROW]


@pytest.mark.parametrize("metrics", [("psnr",), ("psnr", "ssimulacra2"), ("ssimulacra2", "psnr", "ms-ssim"), ()])
def test_other_metrics_are_refused(path: Path, metrics: tuple[str, ...]) -> None:
    ROWS.write(path, [ROW])
    with pytest.raises(InputError, match=r"other columns than this run \(ssimulacra2, psnr are its metrics\)"):
        Rows(Row, metrics).read(path)


@pytest.mark.parametrize("content", [b"nonsense", b"nonsense\n", b"\n", bytes(range(256))])
def test_another_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match="other columns"):
        ROWS.read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", ["nonsense,1", "a.png,many,1,1,1,1", "a.png,1,,1,1,1", "a.png,1,1,1,1,1,1"])
def test_a_broken_line_is_named(path: Path, line: str) -> None:
    ROWS.write(path, [ROW])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError, match="line 3, cannot be read"):
        ROWS.read(path)
