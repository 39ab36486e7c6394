"""Exporting from Python, and the two ways a model comes to be exported."""

import contextlib
import logging
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fmnist_edge_export import data
from fmnist_edge_export.calibration import LEAST_TEMPERATURE, MOST_TEMPERATURE, fit_temperature, fit_threshold
from fmnist_edge_export.files import sha256_of_bytes
from fmnist_edge_export.folder import put_right, undisturbed
from fmnist_edge_export.formats.quantise import (
    CALIBRATION_IMAGES,
    Ranges,
    calibrate,
    calibration_images,
    can_be_quantised,
)
from fmnist_edge_export.formats.registry import FORMATS
from fmnist_edge_export.pipeline import export, formats_named
from fmnist_edge_export.proof.probes import make_probes
from fmnist_edge_export.proof.reference import reference_logits
from fmnist_edge_export.proof.report import Report
from fmnist_edge_export.record import Record, check_name, check_types, load_model, weights_of
from fmnist_edge_export.source import Source
from fmnist_edge_runtime.contract import MOST_PIXELS, MOST_PIXELS_A_SIDE
from fmnist_edge_runtime.errors import ImageError, ModelError, first_line
from fmnist_edge_runtime.reader import read_picture
from fmnist_edge_runtime.selftest import softmax
from fmnist_edge_runtime.session import Images

log = logging.getLogger(__name__)

_FEW = 30  # examples: with 5 a small net did as well in int8 on other pictures, with 1 it did not (by hand)


def export_checkpoint(
    weights: Path,
    out: Path,
    formats: Sequence[str] = tuple(FORMATS),
    *,
    data_folder: Path | None = None,
    keep_failed: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> Report:
    """Export ``NAME.safetensors``, with its record beside it, to the folder ``out/NAME``; see :func:`export_model`."""
    asked = formats_named(formats)
    folder = Path(os.path.realpath(weights)).parent
    put_right(folder)
    with undisturbed(folder):  # the weights are often in the very folder that an export replaces
        module, record = load_model(weights)
        content = weights.read_bytes()
    test, words = data.load_test_or_sample(data_folder)
    labels = test.labels if record.labels == data.LABELS else None
    probes = make_probes(test.images, labels, words, data.load_sample().images)
    source = Source(module, record, content)
    return export(source, out / record.name, asked, probes, keep_failed=keep_failed, on_step=on_step)


def export_model(
    module: nn.Module,
    *,
    labels: Sequence[str],
    out: str | Path,
    mean: float = 0.0,
    std: float = 1.0,
    size: tuple[int, int] = (28, 28),
    examples: Images | None = None,
    example_labels: np.ndarray | None = None,
    formats: Sequence[str] | None = None,
    licence: str = "",
    keep_failed: bool = False,
) -> Report:
    """Export any module that maps float ``[N, 1, H, W]`` to scores ``[N, K]``, and prove what was exported.

    The folder ``out`` gets the forms, the weights, a record, a manifest and a model card, named after the folder. The
    files take uint8 ``[N, H, W]``: pixels are divided by 255, then normalised by ``mean`` and ``std``.

    Args:
        module: the network; exported as in eval mode. It may end in log_softmax, not in softmax.
        labels: the K labels in the order of the scores.
        out: the folder; replaced only if every proof holds, but for files that no export has written, which are
            kept, and forms that were not asked for, which are proven anew.
        mean: subtracted from pixels in 0 to 1.
        std: what they are divided by then.
        size: height and width of the pictures; taken from ``examples`` if given.
        examples: uint8 ``[M, H, W]`` pictures as the model will see them: int8 is calibrated on them, the threshold for
            "unknown" is set so that 99 % of them are known, and the proofs use them. Without them there is no int8
            form, nothing is "unknown", and the proofs use the sample of Fashion-MNIST that comes with the package.
        example_labels: integers ``[M]``; if given, the temperature is fitted to them, else it is 1. Of images that the
            network has learned from they tell nothing about others.
        formats: forms by name; by default all that can be made: of a net with one layer none in int8. If one of
            them fails its proof, nothing is written.
        licence: of the weights, for the files' metadata.
        keep_failed: keep what was rejected in ``out`` + ``.failed``.

    Raises:
        ModelError: the module or the arguments cannot be exported.
        ImageError: ``examples`` are no uint8 pictures.
        ParityError: a proof failed; ``out`` is as it was, the error's ``report`` says which.
    """
    target = _checked_path(out)
    if not isinstance(module, nn.Module):
        raise ModelError(f"a {type(module).__name__} instead of a torch.nn.Module; give the network itself")
    if formats is not None and not (isinstance(formats, list | tuple) and all(isinstance(x, str) for x in formats)):
        raise ModelError(f"formats {formats!r}: a list of names is needed")
    if not isinstance(labels, Sequence):
        raise ModelError(f"labels of {type(labels).__name__}: a list in the order of the scores is needed")
    examples, example_labels = _checked_examples(examples, example_labels, len(labels))
    asked = formats_named(tuple(FORMATS) if formats is None else formats)
    height, width = _checked_size(size) if examples is None else examples.shape[1:]
    with _in_eval_mode(module), torch.autocast("cpu", enabled=False):
        weights = weights_of(module)
        record = Record(
            name=target.name,
            architecture=type(module).__name__,
            labels=tuple(labels),
            height=height,
            width=width,
            weights_sha256=sha256_of_bytes(weights),
            mean=_number("mean", mean),
            std=_number("std", std),
            licence=licence,
        )
        _check_record(record)
        source = Source(module, record, weights)
        notes: tuple[str, ...] = ("no examples were given: temperature 1, nothing is unknown, no int8 form",)
        real, words = _sample_of_size(height, width), "Fashion-MNIST's sample pictures"
        quantisable = False
        if examples is not None:
            real, words = examples, "the examples given"
            source, notes = _calibrated(source, examples, example_labels)
            int8 = FORMATS["onnx-int8"]
            if int8 in asked or (target / int8.file_name(target.name)).is_file():  # one from before is proven anew
                ranges, of_int8 = _ranges(source, examples)
                quantisable = ranges is not None
                if formats is not None and int8 in asked and not quantisable:
                    raise ModelError(f"{target.name}: {of_int8}; leave int8 out")
                source, notes = source.with_record(replace(source.record, ranges=ranges)), (*notes, of_int8)
        if formats is None and not quantisable:
            asked = [form for form in asked if form.name != "onnx-int8"]
        probes = make_probes(real, example_labels, words, real)
        return export(source, target, asked, probes, notes=notes, keep_failed=keep_failed)


@contextlib.contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    try:
        training = {part: part.training for part in module.modules()}
        module.eval()  # which may change weights: some merge what was learned apart
    except (AttributeError, NotImplementedError) as error:  # of frozen TorchScript, of what torch.export gives
        words = f"a {type(module).__name__} cannot be put into eval mode ({first_line(error)})"
        raise ModelError(f"{words}; give the module that it was made of") from error
    try:
        yield
    finally:
        module.train(training[module])  # some modules do more there than set the flag
        for part, was_training in training.items():
            part.training = was_training


def _calibrated(source: Source, examples: Images, labels: np.ndarray | None) -> tuple[Source, tuple[str, ...]]:
    logits = reference_logits(source, examples)
    temperature = 1.0 if labels is None else fit_temperature(logits, labels)
    record = replace(
        source.record, temperature=temperature, unknown_threshold=fit_threshold(softmax(logits / temperature))
    )
    notes: tuple[str, ...] = (
        f"the threshold for unknown comes from the {len(examples)} examples given",
        "temperature 1: the examples had no labels" if labels is None else "temperature fitted to the examples' labels",
    )
    doubts = {
        LEAST_TEMPERATURE: "were the examples among what the network has learned from?",
        MOST_TEMPERATURE: "are the labels those of the examples?",
    }
    if temperature in doubts:
        words = f"no temperature from {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g} is better than {temperature:g}"
        notes += (f"{words}: {doubts[temperature]}",)
        log.warning("%s: %s", record.name, notes[-1])
    return source.with_record(record), notes


def _ranges(source: Source, examples: Images) -> tuple[Ranges | None, str]:
    """Return the ranges of int8, or None where it cannot be, and a note on them."""
    try:
        core = source.core
    except ModelError as error:
        return None, f"no int8 form: {error}"
    if not can_be_quantised(core):
        return None, "no int8 form: nothing but the last layer, which stays float, multiplies"
    try:
        ranges = calibrate(core, calibration_images(examples))
    except Exception as error:  # numpy's and onnxruntime's, of values that are infinite or all the same
        return None, f"no int8 form: onnxruntime finds no ranges for its values ({first_line(error)})"
    if len(examples) < _FEW:
        log.warning("%s: %d examples are few: its int8 form may do worse on others", source.record.name, len(examples))
    return ranges, f"int8 ranges come from {min(len(examples), CALIBRATION_IMAGES)} of the examples"


def _checked_examples(
    examples: Images | None, labels: np.ndarray | None, classes: int
) -> tuple[Images | None, np.ndarray | None]:
    if examples is None:
        if labels is not None:
            raise ModelError("example_labels without examples; give both")
        return None, None
    if not isinstance(examples, np.ndarray) or examples.dtype != np.uint8 or examples.ndim != 3 or not len(examples):
        given = (
            f"{examples.dtype} {list(examples.shape)}" if isinstance(examples, np.ndarray) else type(examples).__name__
        )
        raise ImageError(f"examples of {given}: uint8 [M, H, W] is needed, with M >= 1")
    if labels is not None:
        try:
            labels = np.asarray(labels)  # a list, or a tensor
        except (TypeError, ValueError, RuntimeError) as error:  # of a tensor elsewhere
            raise ModelError(f"example_labels: no array can be made of them ({first_line(error)})") from error
        _check_example_labels(labels, len(examples), classes)
    return examples, labels


def _check_example_labels(labels: np.ndarray, count: int, classes: int) -> None:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        given = f"example_labels of {labels.dtype} {list(labels.shape)} for {count} examples"
        raise ModelError(f"{given}; give one integer each")
    if not ((labels >= 0) & (labels < classes)).all():
        outside = labels[(labels < 0) | (labels >= classes)][0]
        raise ModelError(f"{outside} among the example_labels; there are {classes} labels, 0 to {classes - 1}")


def _checked_path(out: object) -> Path:
    if isinstance(out, str | bytes) and not out:  # pathlib would take it for the folder that one stands in
        raise ModelError("out is an empty path; name a folder")
    try:
        return Path(os.path.realpath(out))  # type: ignore[call-overload]  # pathlib's own fails at a link to itself
    except (TypeError, ValueError) as error:  # no path; a zero byte in it
        raise ModelError(f"out {out!r}: the path of a folder is needed") from error


def _checked_size(size: object) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in size)  # type: ignore[attr-defined]  # what is none raises
    except (TypeError, ValueError) as error:
        raise ModelError(f"size {size!r}: height and width, two whole numbers, are needed") from error
    return height, width


def _number(name: str, given: object) -> float:
    try:
        return float(given)  # type: ignore[arg-type]  # what is none raises
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{name} {given!r}: one number is needed") from error


def _check_record(record: Record) -> None:
    labels = record.labels
    if not labels or not all(isinstance(x, str) and x for x in labels) or len(set(labels)) != len(labels):
        raise ModelError(f"labels {list(labels)}: texts are needed, at least one, all different, none empty")
    check_name(record.name)
    if not all(1 <= side <= MOST_PIXELS_A_SIDE for side in (record.height, record.width)):
        raise ModelError(f"pictures of {record.height} x {record.width}: 1 to {MOST_PIXELS_A_SIDE:,} a side are needed")
    if record.height * record.width > MOST_PIXELS:
        words = f"their pixels are kept in every file's self-test, for which {MOST_PIXELS:,} are the most"
        raise ModelError(f"pictures of {record.height} x {record.width}: {words}")
    with np.errstate(over="ignore"):
        mean, std = np.float32(record.mean), np.float32(record.std)
    if not (std > 0 and np.isfinite([mean, std]).all()):
        raise ModelError(f"mean {record.mean}, std {record.std}: finite float32 and a std above 0 are needed")
    try:
        check_types(record)
        "".join(labels).encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError: a lone surrogate is no text
        raise ModelError(f"{record.name}: cannot be recorded ({error})") from error


def _sample_of_size(height: int, width: int) -> Images:
    images = data.load_sample().images
    if images.shape[1:] == (height, width):
        return images
    return np.stack([read_picture(image, height, width, "fmnist").pixels for image in images[::4]])
