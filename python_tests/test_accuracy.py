"""Accuracy in percent."""

from __future__ import annotations

import torch

from vaecomp_native.demo.accuracy import accuracy, percent_correct, predict


def test_accuracy_is_in_percent_and_predictions_come_in_order() -> None:
    # One-hot images of 4 pixels; the identity predicts the position of the 1.
    classes = torch.arange(2500) % 4
    images = torch.eye(4)[classes]
    labels = classes.clone()
    labels[:25] = (labels[:25] + 1) % 4
    model = torch.nn.Identity().train()
    assert torch.equal(predict(model, images), classes)
    assert not model.training
    assert accuracy(model, images, labels) == 99.0
    assert percent_correct(labels, labels) == 100.0
