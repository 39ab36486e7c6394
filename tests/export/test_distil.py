from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fmnist_edge_export.distil import distillation_loss, soft_labels
from fmnist_edge_export.recipes import RECIPES

RECIPE = replace(RECIPES["edge"], teacher_temperature=2.0, teacher_share=0.9, mirrored=False)


def says(logits):
    rows = np.array([logits], np.float32)
    return lambda images: (rows.repeat(len(images), axis=0), None)


def test_soft_labels_are_the_mean_of_the_teachers_softened_answers():
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    soft = soft_labels([says([4.0, 0.0]), says([0.0, 0.0])], images, RECIPE)
    expected = (functional.softmax(torch.tensor([2.0, 0.0]), dim=0) + 0.5) / 2
    torch.testing.assert_close(soft.float(), expected.expand(3, 2), rtol=0, atol=1e-3)


def test_mirrored_teachers_are_asked_about_the_mirror_image_as_well():
    images = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    images[..., 0] = 8  # the left column

    def left(pixels):
        return np.stack([pixels[:, 0, 0], np.zeros(len(pixels))], axis=1).astype(np.float32), None

    soft = soft_labels([left], images, replace(RECIPE, mirrored=True))
    expected = (functional.softmax(torch.tensor([4.0, 0.0]), dim=0) + 0.5) / 2
    torch.testing.assert_close(soft.float(), expected[None], rtol=0, atol=1e-3)


def test_the_loss_is_least_for_a_student_that_answers_as_its_teacher():
    teacher = torch.tensor([[3.0, 1.0, -2.0]])
    soft, labels = functional.softmax(teacher / 2, dim=1), torch.tensor([0])
    recipe = replace(RECIPE, teacher_share=1.0)
    assert distillation_loss(teacher, labels, soft, recipe).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(teacher.flip(1), labels, soft, recipe).item() > 1


def test_the_labels_have_the_share_that_the_teachers_leave():
    logits, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([1])
    soft = functional.softmax(logits / 2, dim=1)
    hard = functional.cross_entropy(logits, labels).item()
    assert distillation_loss(logits, labels, soft, RECIPE).item() == pytest.approx(0.1 * hard, rel=1e-4)
