"""What a trained network takes image files for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from resnetc.diagnostics import RunError, UsageError
from resnetc.recipes import ResizeShorter, Transform
from resnetc.train.adapt import adaptation
from resnetc.train.datasets import FileImages, Images, TensorImages
from resnetc.train.draws import Samples
from resnetc.train.evaluation import Mode
from resnetc.train.feed import Workers, batches, view
from resnetc.train.job import choose_device, classes_of, input_shape
from resnetc.train.judging import (
    EvaluateOptions,
    make_scorer,
    open_sight,
    recorded_transforms,
    run_of,
)
from resnetc.train.plainly import said_plainly
from resnetc.train.processes import World
from resnetc.train.scorers import Scorer
from resnetc.train.transforms import Statistics

if TYPE_CHECKING:
    from resnetc.driver import Network


@dataclass(frozen=True)
class Prediction:
    """An image's likeliest classes with their probabilities, likeliest first; or what is wrong
    with the image, in words that name it."""

    image: Path
    classes: tuple[tuple[str, float], ...] = ()
    trouble: str | None = None

    def to_json(self) -> dict[str, Any]:
        if self.trouble:
            return {"image": str(self.image), "error": self.trouble}
        shown = [{"class": name, "probability": p} for name, p in self.classes]
        return {"image": str(self.image), "classes": shown}


@dataclass(frozen=True)
class Eye:
    """How a network sees images of no set: its classes' names, transforms and statistics."""

    net: Network
    names: Sequence[str]
    transforms: tuple[Transform, ...]
    statistics: Statistics | None

    def look(self, image: Path) -> Tensor:
        """One file as the network's input, float32 [1, C, H, W].

        An image about as large as the input is centred, as the images of small sets are; others
        are resized and cropped, as those of folders. Raises RunError that names a file that is
        no image.
        """
        wanted = input_shape(self.net)
        alone: Images = FileImages((image,), torch.zeros(1, dtype=torch.int64))
        pixels = _grey_if_grey(alone.image(0))
        resized = any(isinstance(transform, ResizeShorter) for transform in self.transforms)
        if not resized and adaptation(tuple(pixels.shape), wanted).resize is None:
            alone = TensorImages(pixels[None], alone.labels)
        seen = view(alone, wanted, self.transforms, self.statistics)
        zero = torch.zeros(1, dtype=torch.int64)
        plan = [Samples(0, zero, zero)]
        return next(images for images, _ in batches(seen, plan, torch.device("cpu"), Workers()))


def _grey_if_grey(pixels: Tensor) -> Tensor:
    """Three equal channels as the one they are: luma would round."""
    return pixels[:1] if bool((pixels == pixels[:1]).all()) else pixels


def predict(
    net: Network,
    weights: Path,
    images: Sequence[Path],
    options: EvaluateOptions | None = None,
    top: int = 5,
) -> list[Prediction]:
    """The likeliest classes of each image file, in the order given.

    `weights` are those of a run, a file of weights, an .onnx file or an .engine. Images are seen as
    in an evaluation: by weights of a run as its lock file says, and the data set need not be here;
    by others as :func:`resnetc.train.evaluate` has it. An image that cannot be read has its trouble
    told. Raises as `evaluate` does for weights and data.
    """
    options = options or EvaluateOptions()
    device = choose_device(options.device, World())
    with said_plainly():
        eye = _open_eye(net, weights, options)
        mode = Mode(device, options.precision, options.channels_last)
        scorer = make_scorer(eye.net, weights, mode)
        return [_predicted(image, eye, scorer, top) for image in images]


def _open_eye(net: Network, weights: Path, options: EvaluateOptions) -> Eye:
    run = run_of(weights)
    lock = run.read_lock() if run else None
    if run is None or lock is None or options.data or options.recipe:
        sight = open_sight(net, weights, options)
        return Eye(sight.net, sight.data.classes, sight.transforms, sight.statistics)
    try:
        names = tuple(str(name) for name in lock["data_set"]["classes"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.lock}: does not name the classes of a data set") from error
    if classes_of(net) != len(names):
        if "classes" not in net.parameters:
            raise UsageError(f"{net.name} does not tell the run's {len(names)} classes apart")
        net = net.bind(classes=len(names))
    return Eye(net, names, recorded_transforms(lock), run.read_statistics())


def _predicted(image: Path, eye: Eye, scorer: Scorer, top: int) -> Prediction:
    try:
        pixels = eye.look(image)
    except RunError as error:
        return Prediction(image, trouble=str(error))
    scores = scorer.scores(pixels.to(scorer.device))
    if not bool(torch.isfinite(scores).all()):
        return Prediction(image, trouble=f"{image}: the network's outputs are not finite")
    likeliest = scores.softmax(1)[0].topk(min(top, len(eye.names)))
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return Prediction(image, tuple((eye.names[index], p) for index, p in pairs))
