"""What may stand in a recipe's `optimizer`, `loss`, `schedule`, `ema` and `resizing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from resnetc.bounds import (
    AboveZero,
    Ascending,
    Clash,
    NotNegative,
    Positive,
    Share,
    ShareBelowOne,
    SomeShare,
    Within,
)


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum and L2 weight decay.

    `form="caffe"` puts the learning rate inside the velocity (`v = m v + lr g`), as the authors'
    code does; `form="torch"` outside. They part only after the learning rate changes.
    `decay_norm`, `decay_bias` and `decay_linear` say whether scales and shifts of norms, biases,
    and weights of linear layers decay; the paper is silent, and the authors' Caffe decays all.
    """

    word: ClassVar[str] = "sgd"
    lr: AboveZero = 0.1
    momentum: ShareBelowOne = 0.9
    weight_decay: NotNegative = 1e-4
    form: Literal["caffe", "torch"] = "caffe"
    decay_norm: bool = True
    decay_bias: bool = True
    decay_linear: bool = True


@dataclass(frozen=True)
class AdamW:
    """Adam with weight decay beside the gradient (Loshchilov and Hutter, arXiv 1711.05101).

    Each step first shrinks the weights by `lr * weight_decay` of themselves. Defaults are torch's.
    """

    word: ClassVar[str] = "adamw"
    lr: AboveZero = 1e-3
    beta1: ShareBelowOne = 0.9
    beta2: ShareBelowOne = 0.999
    eps: AboveZero = 1e-8
    weight_decay: NotNegative = 0.01
    decay_norm: bool = True
    decay_bias: bool = True
    decay_linear: bool = True


@dataclass(frozen=True)
class Lamb:
    """Adam's step, its length made the rate times the weights' own (You et al., arXiv 1904.00962).

    The step of a parameter is its Adam step plus `weight_decay` times the parameter, scaled to the
    parameter's L2 norm, times the rate. Parameters that do not decay take Adam's plain step, and
    before all this the gradients of the network are shortened to a joint L2 norm of `clip_norm`:
    both as in timm's and NVIDIA's LAMB, whose defaults these are. In You et al. every parameter is
    scaled and nothing is clipped.
    """

    word: ClassVar[str] = "lamb"
    lr: AboveZero = 1e-3
    beta1: ShareBelowOne = 0.9
    beta2: ShareBelowOne = 0.999
    eps: AboveZero = 1e-6
    weight_decay: NotNegative = 0.01
    clip_norm: AboveZero | None = 1.0
    decay_norm: bool = True
    decay_bias: bool = True
    decay_linear: bool = True


Optimizer = Sgd | AdamW | Lamb

# ---------------------------------------------------------------------------------------- losses


@dataclass(frozen=True)
class CrossEntropy:
    """The cross entropy of the softmax: an image is of one class, or a blend of two."""

    word: ClassVar[str] = "cross_entropy"


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Each class a question of its own: the mean over classes of binary cross entropies.

    Beyer et al., arXiv 2006.07159, and Wightman et al., arXiv 2110.00476. With a `threshold`, an
    image blended of two is wholly of each class that has a larger share in it.
    """

    word: ClassVar[str] = "bce"
    threshold: ShareBelowOne | None = None


Loss = CrossEntropy | BinaryCrossEntropy

# -------------------------------------------------------------------------------------- schedules


@dataclass(frozen=True)
class Condition:
    """`train_error < 80%`: holds once the running mean of the metric crosses the number.

    It is tested two hundred times a run, but at least every hundred iterations.
    """

    metric: Literal["train_error"]
    relation: Literal["<", "<=", ">", ">="]
    number: Share


@dataclass(frozen=True)
class Step:
    """Multiply the learning rate by `factor` at each of these iterations."""

    word: ClassVar[str] = "step"
    factor: AboveZero = 0.1
    at: Annotated[tuple[Positive, ...], Ascending()] = ()


@dataclass(frozen=True)
class Plateau:
    """Multiply the learning rate by `factor` when the validation error stops improving.

    `patience` is counted in evaluations, `threshold` in absolute error. The paper says only "when
    the error plateaus".
    """

    word: ClassVar[str] = "plateau"
    factor: Annotated[float, Within(0, 1, low_open=True, high_open=True)] = 0.1
    patience: Positive = 5
    threshold: NotNegative = 0.001
    min_lr: NotNegative = 1e-5


@dataclass(frozen=True)
class Warmup:
    """Train at `lr` until a condition holds or for a number of iterations, or epochs, then go on.

    With `ramp` the rate rises in a straight line from `lr` to the optimizer's.
    """

    word: ClassVar[str] = "warmup"
    lr: NotNegative = 0.01
    until: Condition | None = None
    iterations: Positive | None = None
    epochs: AboveZero | None = None
    ramp: bool = False

    def clashes(self) -> Iterator[Clash]:
        if self.until is None and self.iterations is None and self.epochs is None:
            why = "a warmup needs `until`, `iterations` or `epochs`, or it would never end"
            yield Clash("until", why)
        if self.ramp and not self.iterations and self.epochs is None:
            yield Clash("ramp", "a warmup with `ramp` needs `iterations` or `epochs` to rise over")
        if self.iterations is not None and self.epochs is not None:
            yield Clash("iterations", "`epochs` says how long", idle=True)


@dataclass(frozen=True)
class Cosine:
    """From the end of the warm-ups to the end of the run, the rate falls to `end` along half a
    cosine (Loshchilov and Hutter, arXiv 1608.03983, without restarts)."""

    word: ClassVar[str] = "cosine"
    end: NotNegative = 0.0


Schedule = Step | Plateau | Warmup | Cosine


def schedule_clashes(schedule: Sequence[Schedule]) -> Iterator[str]:
    """Why these cannot change the learning rate together, if they cannot."""
    kinds = Counter(type(part) for part in schedule)
    if kinds[Plateau] > 1:
        yield "a schedule may hold one plateau, not several"
    if kinds[Cosine] and (kinds[Cosine] > 1 or kinds[Step] or kinds[Plateau]):
        yield "a cosine is a schedule of its own; only warm-ups go before it"


# ------------------------------------------------------------------------- beside the optimizer


@dataclass(frozen=True)
class Ema:
    """Keep an exponential moving average of the weights; it is what is judged and kept.

    Every `every` iterations it becomes `decay` times itself and `1 - decay` times the weights,
    batch norm's running statistics included. During a warm-up it is a copy of the weights, as in
    torchvision's reference training.
    """

    word: ClassVar[str] = "ema"
    decay: ShareBelowOne = 0.9999
    every: Positive = 1


@dataclass(frozen=True)
class Progressive:
    """Train on smaller images first (progressive resizing).

    Batches are resized to `start` times their side for the first `delay` of the run, and to their
    own size for its last `settle`; between, the side grows in a straight line, in multiples of
    `increment` pixels. Fractions and defaults are those of MosaicML's Composer.
    """

    word: ClassVar[str] = "progressive"
    start: SomeShare = 0.5
    delay: Share = 0.5
    settle: Share = 0.2
    increment: Positive = 4

    def clashes(self) -> Iterator[Clash]:
        if self.delay + self.settle > 1:
            why = (
                f"delay and settle are {self.delay} and {self.settle}; together they are at most 1"
            )
            yield Clash("settle", why)
