"""The run's numbers as TensorBoard shows them. The package is an extra."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path

from resnetc.diagnostics import MissingError
from resnetc.train.metrics import Row


def require_tensorboard() -> None:
    """Raise MissingError, with the command that mends it, where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingError("TensorBoard is not installed", "pip install 'resnetc[tensorboard]'")


class Board:
    """Event files in a folder: `train/loss`, `test/error` and all other numbers of `Row`, by step.

    What earlier processes of the run wrote behind `from_step` is taken back: it will come again.
    """

    def __init__(self, folder: Path, from_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=from_step + 1)

    def add(self, row: Row) -> None:
        """Write one reading, to the disk: a kill takes none back."""
        for name, value in asdict(row).items():
            if name not in ("kind", "step") and value is not None:
                self._writer.add_scalar(f"{row.kind}/{name}", value, row.step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
