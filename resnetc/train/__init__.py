"""Training: data sets, the paper's recipes, the loop, checkpoints, evaluation.

options, plan     a request and a recipe become exact numbers
datasets/         a name becomes images and labels
draws, transforms, adapt, feed   images become batches, each draw keyed by its sample
schedule, optimizer, state, step, trainer   the loop; graphs, compiling   its step made fast
checkpoint, run_folder, metrics, curves, progress   what is kept and shown
recorded, replay  a run from its lock file
runs, judging     `train` and `evaluate`, which tie it together
"""

from resnetc.train.evaluation import Evaluation
from resnetc.train.judging import EvaluateOptions, evaluate
from resnetc.train.options import TrainOptions
from resnetc.train.replay import replay
from resnetc.train.runs import TrainResult, train
from resnetc.train.stop import StoppedError

__all__ = [
    "EvaluateOptions",
    "Evaluation",
    "StoppedError",
    "TrainOptions",
    "TrainResult",
    "evaluate",
    "replay",
    "train",
]
