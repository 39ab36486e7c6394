"""What --save-view draws, and where it may."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fmnist_edge_runtime.reader import read_picture
from fmnist_edge_runtime.sight import draw_sight

PICTURES = "examples/pictures"


def test_what_was_seen_is_saved_for_each_picture(run, root, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("no picture")
    hostile = tmp_path / "a\nb; c.png"
    hostile.write_bytes((root / PICTURES / "bag.png").read_bytes())
    done = run("predict", root / PICTURES / "dress.png", bad, hostile, "--save-view", tmp_path / "new" / "views")
    assert done.returncode == 1
    saved = sorted(path.name for path in (tmp_path / "new" / "views").iterdir())
    assert saved == ["0001-dress.png", "0003-a_b__c.png"]
    for name in saved:
        with Image.open(tmp_path / "new" / "views" / name) as view:
            assert view.size == (904, 336)


@pytest.mark.parametrize("letter", ["W", "i", "長"])
def test_labels_end_where_the_view_does(classifier, root, letter):
    with Image.open(root / PICTURES / "bag.png") as image:
        answer = replace(classifier.predict(image), labels=tuple(f"{i}{letter * 60}" for i in range(10)))
        reading = read_picture(image, 28, 28)
        view = np.asarray(draw_sight(image.convert("L"), reading, answer))
    assert (view[:, -12:] == 255).all()
    assert (view[:, -60:-16] < 100).any(), "but not long before"


def test_views_that_cannot_be_saved_are_a_wrong_call(run, root):
    taken = root / PICTURES / "dress.png"
    done = run("predict", taken, "--save-view", taken)
    assert done.returncode == 2
    assert b"cannot be made" in done.stderr


def test_so_is_a_folder_for_views_that_leads_to_itself(run, root, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    done = run("predict", root / PICTURES, "--save-view", tmp_path / "loop")
    assert done.returncode == 2
    assert b"cannot be made" in done.stderr


@pytest.mark.parametrize(("more", "views"), [([], "."), (["-r"], "."), (["-r"], "views/today")])
def test_views_among_the_pictures_are_refused_for_they_would_be_read_as_such(run, tmp_path, more, views):
    done = run("predict", *more, tmp_path, "--save-view", views, cwd=tmp_path)
    assert done.returncode == 2
    assert "where its drawings would be read as pictures; name another folder" in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_a_drawing_that_would_replace_an_input_is_refused(run, root, tmp_path):
    for name in ("a.png", "0001-a.png"):
        (tmp_path / name).write_bytes((root / PICTURES / "bag.png").read_bytes())
    done = run("predict", "a.png", "0001-a.png", "--save-view", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert "is an INPUT, which a drawing would replace; name another folder" in done.stderr.decode()
    assert (tmp_path / "0001-a.png").read_bytes() == (root / PICTURES / "bag.png").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_what_a_link_in_the_folder_of_views_leads_to_stays(run, root, tmp_path, link):
    picture, other, views = tmp_path / "a.png", tmp_path / "other.png", tmp_path / "views"
    for path in (picture, other):
        path.write_bytes((root / PICTURES / "bag.png").read_bytes())
    views.mkdir()
    link(other, views / "0001-a.png")
    assert run("predict", picture, "--save-view", views).returncode == 0
    assert other.read_bytes() == picture.read_bytes()
    assert not (views / "0001-a.png").is_symlink()


def test_views_need_a_folder_with_a_name(run, root, tmp_path):
    done = run("predict", root / PICTURES / "bag.png", "--save-view", "", cwd=tmp_path)
    assert done.returncode == 2
    assert "the name is empty" in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_views_below_the_pictures_are_not_among_them_unless_asked_to_look_there(run, root, tmp_path):
    (tmp_path / "bag.png").write_bytes((root / PICTURES / "bag.png").read_bytes())
    for _ in range(2):
        done = run("predict", tmp_path, "--save-view", tmp_path / "views")
        assert (done.returncode, done.stdout.count(b"\n")) == (0, 1)
    assert [path.name for path in (tmp_path / "views").iterdir()] == ["0001-bag.png"]
