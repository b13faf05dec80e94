"""Docstrings name the thing first, in sentences that can be read at once."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kcompress

PACKAGE = Path(kcompress.__file__).parent
LONGEST_SENTENCE = 30
"""Words in a sentence of a first paragraph."""

MODULES = sorted(PACKAGE.rglob("*.py"))

_STARTS_WITHOUT_THE_THING = re.compile(r"(Of|That|What|Which|How|Whose)\b")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z`(\"])|\n\s*-\s")


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, those below constants and attributes included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text
            for before, after in zip(node.body, node.body[1:], strict=False):
                value = after.value if isinstance(after, ast.Expr) else None
                if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(value, ast.Constant):
                    yield after.lineno, str(value.value)


def faults(text: str) -> list[str]:
    """Rules that a docstring breaks, in words."""
    found = []
    if _STARTS_WITHOUT_THE_THING.match(text):
        found.append(f"begins with {text.split()[0]}")
    first = re.split(r"\n\s*\n", text)[0]
    for sentence in _SENTENCE_END.split(first):
        words = len(sentence.split())
        if words > LONGEST_SENTENCE:
            found.append(f"has a sentence of {words} words")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_name_the_thing_first(path: Path) -> None:
    tree = ast.parse(path.read_text())
    wrong = [f"{line}: {fault}: {text[:60]!r}" for line, text in docstrings(tree) for fault in faults(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Of the threshold.", 1),
        ("What it is.", 1),
        ("Height of the threshold, grey levels.", 0),
        ("Whatever it is.", 0),
        ("word " * 31 + "end.", 1),
        ("Short. " + "word " * 20 + "end.\n\n" + "word " * 40, 0),
    ],
)
def test_the_rules_are_what_they_say(text: str, count: int) -> None:
    assert len(faults(text)) == count
