"""What is told of an error on one line."""

import pytest

from fmnist_edge_runtime.errors import first_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("only one", "only one"),
        ("the first\nthe second", "the first"),
        ("\n  after a line end\nmore", "after a line end"),
        ("a heading:\n\n  what it is about\nmore", "what it is about"),
        ("a heading alone:", "a heading alone:"),
        (f"{'words ' * 20}:\na place", f"{'words ' * 20}:"),
        ("", "RuntimeError"),
        (" \n", "RuntimeError"),
    ],
)
def test_the_first_line_says_something(text, line):
    assert first_line(RuntimeError(text)) == line
