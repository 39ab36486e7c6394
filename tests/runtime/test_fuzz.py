"""A smaller count of what ``tests/runtime/fuzz_pictures.py 20000`` does, and proof that it sees what goes wrong."""

import fuzz_pictures
import pytest

CASES = 2_000


def test_damaged_pictures_give_an_answer_or_an_image_error_and_nothing_else():
    code, last, complaint = fuzz_pictures.fuzz(CASES)
    assert code == 0, f"{complaint}{last}"
    answered, refused = (int(part.split()[0].replace(",", "")) for part in last.split(": ")[1].split(", "))
    assert answered + refused == CASES
    assert min(answered, refused) > CASES // 5


def test_a_whole_picture_of_each_kind_is_read_in_every_way():
    pictures = fuzz_pictures.whole_pictures()
    for name, content in pictures.items():
        for way in fuzz_pictures.WAYS:
            assert fuzz_pictures.outcome(content, way) == "answered", name


def test_a_case_follows_from_its_number():
    pictures = fuzz_pictures.whole_pictures()
    for number in (0, 77, 19_999):
        assert fuzz_pictures.damaged(pictures, number) == fuzz_pictures.damaged(fuzz_pictures.whole_pictures(), number)


FAULTY = f"""
import os, runpy, signal, sys, time
fuzz = runpy.run_path({fuzz_pictures.__file__!r}, run_name="fuzz")["main"].__globals__
real, seen = fuzz["read_picture"], []
def faulty(*given):
    seen.append(given)
    if len(seen) == 8:
        %s
    return real(*given)
fuzz["read_picture"], fuzz["SECONDS"] = faulty, 1
fuzz["main"](sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("os.abort()", "Fatal Python error"),
        ("time.sleep(60)", "Timeout"),
        ("raise ZeroDivisionError", "ZeroDivisionError"),
        ("error = fuzz['ImageError'](''); error.args = ('two\\nlines',); raise error", "is not one line"),
        ("os.write(2, b'libpng warning')", "written to the terminal"),
    ],
)
def test_a_crash_a_hang_and_any_other_exception_are_seen_and_named(fault, words):
    code, last, complaint = fuzz_pictures.fuzz(20, "-c", FAULTY % fault)
    assert code != 0
    assert last.startswith("case 7: ")
    assert words in complaint
