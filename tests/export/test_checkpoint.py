"""Whose checkpoint a run may go on from, and what a save that fails leaves."""

import json
from dataclasses import replace

import pytest
from nets import TINY
from safetensors import safe_open
from safetensors.torch import save

from fmnist_edge_export.models import ARCHITECTURES, build
from fmnist_edge_export.progress import Run
from fmnist_edge_export.record import weights_of
from fmnist_edge_export.train import train
from fmnist_edge_runtime.errors import ModelError


def test_resuming_another_run_is_refused_with_what_differs(parts, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    train(Run("edge", replace(TINY, epochs=1)), parts, checkpoint)
    with pytest.raises(ModelError, match="epochs 1 there, 3 here"):
        train(Run("edge", TINY), parts, checkpoint, resume=True)
    with pytest.raises(ModelError, match="seed 0 there, 1 here"):
        train(Run("edge", replace(TINY, epochs=1, seed=1)), parts, checkpoint, resume=True)


def test_so_is_one_that_learned_from_other_weights(parts, tmp_path):
    recipe, checkpoint = replace(TINY, epochs=1, begins_as="first"), tmp_path / "checkpoint"
    beginning = build("edge").state_dict()
    train(Run("edge", recipe, {"first": "0" * 64}), parts, checkpoint, beginning=beginning)
    with pytest.raises(ModelError, match="weights of first 00000000 there, 11111111 here"):
        train(Run("edge", recipe, {"first": "1" * 64}), parts, checkpoint, beginning=beginning, resume=True)


def with_settings(checkpoint, change):
    """Write the checkpoint again, with other settings in its header."""
    with safe_open(checkpoint, "pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    checkpoint.write_bytes(save(tensors, header | {"run": json.dumps(change(json.loads(header["run"])))}))


def test_a_setting_that_only_the_checkpoint_has_is_a_difference(parts, tmp_path):
    run, checkpoint = Run("edge", replace(TINY, epochs=1)), tmp_path / "checkpoint"
    train(run, parts, checkpoint)
    with_settings(checkpoint, lambda settings: settings | {"recipe": settings["recipe"] | {"smoothing": 0.1}})
    with pytest.raises(ModelError, match=r"of another run \(smoothing 0\.1 there, - here\)"):
        train(run, parts, checkpoint, resume=True)


@pytest.mark.parametrize("settings", [[], 3, {"recipe": []}, {"recipe": {}, "teachers": 3}], ids=str)
def test_a_checkpoint_without_settings_is_damaged(parts, tmp_path, settings):
    run, checkpoint = Run("edge", replace(TINY, epochs=1)), tmp_path / "checkpoint"
    train(run, parts, checkpoint)
    with_settings(checkpoint, lambda _: settings)
    with pytest.raises(ModelError, match="damaged checkpoint"):
        train(run, parts, checkpoint, resume=True)


def test_what_is_told_of_a_recipe_is_no_difference(parts, tmp_path):
    recipe, checkpoint = replace(TINY, epochs=1), tmp_path / "checkpoint"
    whole, _ = train(Run("edge", recipe), parts, checkpoint)
    told, _ = train(Run("edge", replace(recipe, chosen="by lot")), parts, checkpoint, resume=True)
    assert weights_of(told) == weights_of(whole)


def test_a_checkpoint_of_another_network_is_refused(parts, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint"
    train(Run("edge", TINY), parts, checkpoint)
    monkeypatch.setitem(ARCHITECTURES, "edge", ARCHITECTURES["cnn"])
    with pytest.raises(ModelError, match="of another network") as caught:
        train(Run("edge", TINY), parts, checkpoint, resume=True)
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_is_refused(parts, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(ModelError, match="no checkpoint to resume from"):
        train(Run("edge", TINY), parts, checkpoint, resume=True)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="damaged checkpoint"):
        train(Run("edge", TINY), parts, checkpoint, resume=True)


def test_a_failed_save_keeps_the_checkpoint_before(parts, tmp_path, monkeypatch):
    run, checkpoint = Run("edge", replace(TINY, epochs=1)), tmp_path / "checkpoint"
    train(run, parts, checkpoint)
    before = checkpoint.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        train(run, parts, checkpoint)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]
