"""Rows in CSV: what is written is read; a kill at any byte leaves a readable file."""

import tempfile
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
RUN_BY_SPREADSHEETS = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "-", "'=1", "''@x", "=\\x41", "'a\\x41"]
CONTROL = ["\ttab", "a\rb", "\r", "a\x1b[31mred", "nul\0", "\x7f", "=\n", "'\n", "\\\n", "\\x0a\n"]


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


@dataclass(frozen=True)
class Told(Row):
    texts: dict[str, str]


def test_columns_of_texts_come_last(path: Path) -> None:
    rows = Rows(Told, ("psnr",), texts=("matches", "more"))
    assert rows.header == ["name", "number", "rate", "seconds", "psnr", "matches", "more"]
    given = [
        Told("a.png", 1, 0.5, None, {"psnr": 30.0}, texts)
        for texts in ({"matches": '{"found": [[1, 2]]}', "more": "=1+1"}, {"more": "a,\n b"}, {})
    ]
    rows.write(path, given)
    assert rows.read(path) == given and ",=1" not in path.read_text()
    with pytest.raises(InputError, match="has other columns than this run"):
        Rows(Told, ("psnr",), texts=("matches",)).read(path)


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
    whole = path.read_bytes().replace(b"'line\\x0afeed.png", b'"line\nfeed.png"')  # as they were written before
    path.write_bytes(whole)
    assert ROWS.read(path)[1].name == "line\nfeed.png"
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


@pytest.mark.parametrize("name", RUN_BY_SPREADSHEETS + CONTROL)
def test_text_that_a_spreadsheet_would_run_is_written_safely_and_read_back(path: Path, name: str) -> None:
    ROWS.write(path, [replace(ROW, name=name), replace(ROW, name="behind")])
    assert ROWS.read(path) == [replace(ROW, name=name), replace(ROW, name="behind")]
    cell = path.read_bytes().decode().split("\n")[1].strip('"')
    assert cell[0] not in "=+-@\t\r"
    assert not any(ord(letter) < 32 or letter == "\x7f" for letter in cell)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.text(st.sampled_from("'=+-@\\x0a\n\r\t\0 ,\"é"), max_size=8))
def test_any_text_is_read_back(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        ROWS.write(path, [replace(ROW, name=name)])
        assert ROWS.read(path) == [replace(ROW, name=name)]


def test_numbers_stay_numbers(path: Path) -> None:
    row = replace(ROW, number=-7, rate=-0.5, scores={"psnr": -1.5})
    ROWS.write(path, [row])
    assert path.read_text().splitlines()[1] == "a b/ü.png,-7,-0.5,0.25,,-1.5"
    assert ROWS.read(path) == [row]


@pytest.mark.parametrize("cell", ["=x.png", "'quoted'.png", "''x", "-1", "back\\slash.png", "\\x41", "'", "'a\\b"])
def test_files_from_before_are_read_as_before(path: Path, cell: str) -> None:
    path.write_text(f"{','.join(ROWS.header)}\n{cell},7,1.0,,,\n")
    assert [row.name for row in ROWS.read(path)] == [cell]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_cell_without_end_is_told_with_its_line(path: Path, place: int) -> None:
    lines = [",".join(ROWS.header), "a,7,1.0,,,", "b,7,1.0,,,"]
    lines[place] = "x" * 200_000 + lines[place]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"line {place + 1}, cannot be read.*Remove the line\.$"):
        ROWS.read(path)


def test_a_row_that_makes_no_sense_is_told_with_its_line(path: Path) -> None:
    def check(row: Row) -> None:
        if row.number > 7:
            raise ValueError(f"number {row.number}")

    ROWS.write(path, [ROW, replace(ROW, number=8)])
    with pytest.raises(InputError, match=r"line 3, cannot be read \(number 8\)"):
        Rows(Row, ("ssimulacra2", "psnr"), check).read(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        ROWS.read(tmp_path)
