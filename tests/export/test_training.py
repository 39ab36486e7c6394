from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import TINY
from torch import nn

from fmnist_edge_export.augment import augment
from fmnist_edge_export.calibration import fit_temperature, fit_threshold
from fmnist_edge_export.data import Dataset
from fmnist_edge_export.finish import finish
from fmnist_edge_export.models import build
from fmnist_edge_export.progress import Run
from fmnist_edge_export.proof.reference import reference_logits
from fmnist_edge_export.recipes import RECIPES
from fmnist_edge_export.record import weights_of
from fmnist_edge_export.source import Source
from fmnist_edge_export.strangers import strangers
from fmnist_edge_export.train import Split, accuracy, augmented_view, prepare, rate, split, to_tensors, train
from fmnist_edge_export.training_state import new_state
from fmnist_edge_runtime.errors import ModelError
from fmnist_edge_runtime.selftest import softmax


def test_the_same_seed_gives_the_same_weights(parts, tmp_path):
    one, curve = train(Run("edge", replace(TINY, seed=3)), parts, tmp_path / "one")
    two, again = train(Run("edge", replace(TINY, seed=3)), parts, tmp_path / "two")
    other, _ = train(Run("edge", replace(TINY, seed=4)), parts, tmp_path / "three")
    assert weights_of(one) == weights_of(two)
    assert curve == again
    assert weights_of(one) != weights_of(other)


def test_training_learns(parts, tmp_path):
    recipe = replace(TINY, epochs=12, shift=0, erase=0.0, average_decay=0.0, skip=0.0)
    _, curve = train(Run("edge", recipe), parts, tmp_path / "checkpoint")
    assert curve[-1].loss < 0.7 * curve[0].loss
    assert curve[-1].train_accuracy > 0.6


def untrained(name, parts, tmp_path, beginning):
    """What a run begins with."""
    recipe = replace(TINY, epochs=0, begins_as="another" if beginning else "")
    module, _ = train(Run(name, recipe), parts, tmp_path / "checkpoint", beginning=beginning)
    return module


def test_a_run_begins_with_the_weights_it_is_given(parts, tmp_path):
    torch.manual_seed(5)
    beginning = build("edge").state_dict()
    kept = untrained("edge", parts, tmp_path, beginning).state_dict()
    assert all(torch.equal(kept[name], value) for name, value in beginning.items())
    other = untrained("edge", parts, tmp_path, None).state_dict()
    assert not torch.equal(other["stem.conv.weight"], beginning["stem.conv.weight"])


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.begins_as])
def test_a_model_says_at_first_what_it_begins_as_says(name, parts, tmp_path):
    torch.manual_seed(5)
    before = build(RECIPES[name].begins_as).eval()
    pixels = to_tensors(parts.watch)[0] / 255
    for layer in before.modules():  # else what is untrained would do little
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    begun = untrained(name, parts, tmp_path, before.state_dict())
    assert before(pixels).std() > 0.05
    assert torch.equal(begun(pixels), before(pixels))


def test_a_block_that_begins_as_the_identity_learns(parts, tmp_path):
    torch.manual_seed(5)
    beginning = build("edge_first").state_dict()
    module, _ = train(Run("edge", replace(TINY, begins_as="edge_first")), parts, tmp_path / "one", beginning=beginning)
    weights = module.state_dict()
    (new,) = [name for name in weights.keys() - beginning.keys() if name.endswith("second.norm.weight")]
    assert weights[new].abs().max() > 0
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_weights_of_another_shape_are_no_beginning(parts, tmp_path):
    run = Run("edge", replace(TINY, begins_as="edge_large"))
    with pytest.raises(ModelError, match="edge_large: its weights do not fit edge"):
        train(run, parts, tmp_path / "one", beginning=build("edge_large").state_dict())


def test_a_recipe_that_begins_as_a_model_needs_its_weights_and_no_other_does(parts, tmp_path):
    with pytest.raises(ValueError, match="weights to begin with are needed"):
        train(Run("edge", replace(TINY, begins_as="edge_first")), parts, tmp_path / "one")
    with pytest.raises(ValueError, match="weights to begin with are needed"):
        train(Run("edge", TINY), parts, tmp_path / "two", beginning=build("edge").state_dict())


def test_temperature_and_threshold_come_from_the_held_out_images_alone(parts, sample):
    held_out, test = parts.watch, Dataset(sample.images[200:], sample.labels[200:])
    recipe = replace(TINY, validation=len(held_out))
    module = build("cnn").eval()
    record = finish(Run("cnn", recipe), module, [], parts, test)
    logits = reference_logits(Source(module, record, weights_of(module)), held_out.images)
    assert record.temperature == fit_temperature(logits, held_out.labels)
    assert record.unknown_threshold == fit_threshold(softmax(logits / record.temperature))
    assert record.test_accuracy == accuracy(module, test)


def stop_in(epoch):
    def on_batch(current, batch, _batches):
        if current == epoch and batch == 2:
            raise KeyboardInterrupt

    return on_batch


STRANGE = replace(TINY, photo_like=0.5, strangers=16, strangers_per_batch=8)


@pytest.mark.parametrize("recipe", [TINY, STRANGE], ids=["plain", "with strangers"])
def test_a_resumed_run_ends_as_if_it_had_not_stopped(parts, tmp_path, recipe):
    run = Run("edge", recipe)
    whole, curve = train(run, parts, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(run, parts, tmp_path / "cut", on_batch=stop_in(3))
    resumed, continued = train(run, parts, tmp_path / "cut", resume=True)
    assert weights_of(resumed) == weights_of(whole)
    assert continued == curve


DISTILLED = replace(TINY, epochs=3, views=2, teachers=("a teacher",), teacher_temperature=2.0, teacher_share=0.9)


class Teacher:
    """Answers by the mean of the pixels, and counts the images that it is asked about."""

    def __init__(self):
        self.asked = 0

    def __call__(self, images):
        self.asked += len(images)
        return images.mean(axis=(1, 2), dtype=np.float32)[:, None] / 255 * np.arange(10, dtype=np.float32), None


def test_teachers_are_asked_once_about_each_view_also_by_a_resumed_run(parts, tmp_path):
    run, teacher = Run("edge", DISTILLED), Teacher()
    whole, _ = train(run, parts, tmp_path / "whole", teachers=[teacher])
    assert teacher.asked == 2 * len(parts.learn)
    with pytest.raises(KeyboardInterrupt):
        train(run, parts, tmp_path / "cut", teachers=[teacher], on_batch=stop_in(3))
    resumed, _ = train(run, parts, tmp_path / "cut", teachers=[teacher], resume=True)
    assert teacher.asked == 4 * len(parts.learn)
    assert weights_of(resumed) == weights_of(whole)


def test_what_the_teachers_say_matters(parts, tmp_path):
    run = Run("edge", replace(DISTILLED, epochs=1))
    alone, _ = train(run, parts, tmp_path / "alone")
    taught, _ = train(run, parts, tmp_path / "taught", teachers=[Teacher()])
    assert weights_of(alone) != weights_of(taught)


def test_a_view_is_the_same_whenever_it_is_asked_for(parts):
    images, _ = to_tensors(parts.learn)
    run = Run("edge", DISTILLED)
    first, second = augmented_view(images, 0, run.recipe), augmented_view(images, 1, run.recipe)
    assert first.dtype == torch.uint8
    assert torch.equal(first, augmented_view(images, 0, run.recipe))
    assert not torch.equal(first, second)


def test_an_interruption_leaves_the_last_complete_epoch(parts, tmp_path):
    run, checkpoint = Run("edge", TINY), tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(run, parts, checkpoint, on_batch=stop_in(1))
    assert not checkpoint.exists()
    with pytest.raises(KeyboardInterrupt):
        train(run, parts, checkpoint, on_batch=stop_in(2))
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]
    heard = []
    train(run, parts, checkpoint, resume=True, on_epoch=heard.append)
    assert [epoch.number for epoch in heard] == [2, 3]


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_checkpoint(parts, tmp_path):
    run, checkpoint = Run("edge", replace(TINY, learning_rate=1e30, batch_size=8)), tmp_path / "checkpoint"
    with pytest.raises(ModelError, match=r"edge: the loss of epoch 1 is nan; train at a lower rate"):
        train(run, parts, checkpoint)
    assert not checkpoint.exists()


def test_validation_images_are_held_out_and_always_the_same(sample):
    one = split(sample, sample, replace(TINY, validation=100))
    two = split(sample, sample, replace(TINY, validation=100))
    assert (len(one.learn), len(one.watch)) == (900, 100)
    assert np.array_equal(one.watch.images, two.watch.images)
    together = {image.tobytes() for part in (one.learn, one.watch) for image in part.images}
    assert together == {image.tobytes() for image in sample.images}


def test_the_notebooks_recipes_watch_the_test_images(sample):
    test = Dataset(sample.images[:10], sample.labels[:10])
    assert split(sample, test, RECIPES["cnn"]) == Split(sample, test)
    assert RECIPES["cnn"] == RECIPES["cnn_bn"]
    assert (RECIPES["cnn"].learning_rate, RECIPES["cnn"].batch_size, RECIPES["cnn"].epochs) == (1e-3, 104, 5)
    assert not RECIPES["cnn"].augmented


def test_one_cycle_rises_then_falls_to_nothing():
    rates = [rate(done, RECIPES["edge"]) for done in np.linspace(0, 1, 101)]
    peak = int(np.argmax(rates))
    assert peak == 15
    assert rates[:16] == sorted(rates[:16])
    assert rates[15:] == sorted(rates[15:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def augmented(images, **settings):
    return augment(images, torch.Generator().manual_seed(0), **settings)


def test_augmentation_keeps_shape_and_range(sample):
    images = torch.from_numpy(sample.images[:200].copy()).unsqueeze(1).float() / 255
    changed = augmented(images, shift=2, erase=0.5)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(changed, augmented(images, shift=2, erase=0.5))


def test_a_shifted_image_is_the_image_moved_or_mirrored():
    dot = torch.zeros(400, 1, 28, 28)
    dot[:, :, 10, 8] = 1
    rows, columns = augmented(dot, shift=2, erase=0.0)[:, 0].nonzero()[:, 1:].T
    assert set(rows.tolist()) == {8, 9, 10, 11, 12}
    assert set(columns.tolist()) == {6, 7, 8, 9, 10} | {17, 18, 19, 20, 21}


def test_about_the_asked_share_of_images_is_erased():
    changed = augmented(torch.full((2000, 1, 28, 28), 2.0), shift=0, erase=0.3)
    erased = (changed < 2).flatten(1)
    assert 0.25 < erased.any(dim=1).float().mean() < 0.35
    assert erased.float().mean(dim=1).max() <= 0.40


def test_strangers_teach_doubt(parts, tmp_path):
    recipe = replace(STRANGE, epochs=12, photo_like=0.0, skip=0.0, average_decay=0.0)
    pictures = torch.from_numpy(strangers(parts.learn.images, 16, 0)).unsqueeze(1).float() / 255

    def confidence(recipe, name):
        module, _ = train(Run("edge", recipe), parts, tmp_path / name)
        return float(module(pictures).detach().softmax(1).amax(1).mean())

    taught = confidence(recipe, "taught")
    assert taught < 0.5 * confidence(replace(recipe, strangers=0, strangers_per_batch=0), "not taught") + 0.1


def test_some_images_are_made_photo_like_after_the_teachers_saw_them(parts):
    asked = []

    def teacher(images):
        asked.append(images.copy())
        return np.zeros((len(images), 10), np.float32), None

    run = Run("edge", replace(DISTILLED, photo_like=0.5))
    images, labels = to_tensors(parts.learn)
    lesson = prepare(1, images, labels, run.recipe, new_state(build("edge"), run.recipe, len(images)), [teacher])
    plain = augmented_view(images, 0, run.recipe)
    assert np.array_equal(asked[0], plain[:, 0].numpy())
    assert 0.35 < (lesson.images != plain).flatten(1).any(1).float().mean() < 0.65
