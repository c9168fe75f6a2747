"""The line that tells the root model where its documents are."""

import pytest

from rlm_mcp.engine.outline import MOST_CHARS, outline
from rlm_mcp.types import Document


def documents(*paths):
    return [Document(path, 0, 10, 1, 10) for path in paths]


@pytest.mark.parametrize(
    ("paths", "line"),
    [
        ([], ""),
        (["app.log"], ""),
        (["a.py", "b/c.py"], "files: a.py (1 line), b/c.py (1 line)"),
        (
            [f"src/pkg/{n}.py" for n in range(12)] + ["src/docs/a.md", "src/b.md"],
            "files by folder: src/pkg/ (12), src/docs/ (1), src/* (1)",
        ),
        (
            [f"{n}.md" for n in range(11)] + ["x/y.md"],
            "files by folder: * (11), x/ (1)",
        ),
    ],
)
def test_few_files_are_named_and_many_are_counted_by_folder(paths, line):
    assert outline(documents(*paths)) == line


def test_the_line_stays_short_whatever_is_loaded():
    many = outline(documents(*[f"folder{n}/{'x' * 80}/a.py" for n in range(500)]))
    long = outline(documents(*[f"{'long-name' * 20}{n}.py" for n in range(9)]))

    assert many.endswith("490 more folders")
    assert max(len(many), len(long)) <= MOST_CHARS
