"""A backend's process: `python -P -m resnetc.bench.worker MODULE:CLASS`.

Requests come as lines of JSON on stdin, each is answered by one line on stdout:

    {"do": "prepare", "job": {...}}            -> {"facts": {...}, "seconds": 2.1}
    {"do": "save", "path": "reference.npy"}    -> {}
    {"do": "check", "path": "reference.npy"}   -> {"error": 1e-6, "top1": 1.0}
    {"do": "measure", "seconds": 0.5}          -> {"times": [0.0102, ...]}

Anything that goes wrong is answered by {"failed": KIND, "message": ...}, see `failure`. The
process ends with its stdin.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any

from resnetc.bench.backends import Contestant, load_contestant
from resnetc.bench.failure import kind_of
from resnetc.bench.request import Job
from resnetc.diagnostics import CheckError, ResnetcError

SETTLE_SECONDS = 0.05
"""Unmeasured running before each round: another process has just had the caches and the cores."""


class Worker:
    """Holds one contestant and does what is asked of it."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._contestant: Contestant | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        steps: dict[str, Callable[..., dict[str, Any]]] = {
            "prepare": self._prepare,
            "save": self._save,
            "check": self._check,
            "measure": self._measure,
        }
        arguments = {key: value for key, value in request.items() if key != "do"}
        return steps[request["do"]](**arguments)

    @property
    def _ready(self) -> Contestant:
        assert self._contestant is not None, "asked to work before it was prepared"
        return self._contestant

    def _prepare(self, job: Mapping[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        self._contestant = load_contestant(self._target)(Job(**job))
        self._contestant.run()
        return {"facts": self._contestant.facts, "seconds": time.perf_counter() - start}

    def _save(self, path: str) -> dict[str, Any]:
        import numpy as np

        np.save(path, self._ready.output())
        return {}

    def _check(self, path: str) -> dict[str, Any]:
        import numpy as np

        expected, found = np.load(path), self._ready.output()
        if found.shape != expected.shape:
            raise CheckError(f"the output is {found.shape}, the reference's {expected.shape}")
        scale = float(np.abs(expected).max()) or 1.0
        same = (found.argmax(-1) == expected.argmax(-1)).mean()
        return {"error": float(np.abs(found - expected).max()) / scale, "top1": float(same)}

    def _measure(self, seconds: float) -> dict[str, Any]:
        run, clock = self._ready.run, time.perf_counter
        settled = clock() + SETTLE_SECONDS
        run()
        while clock() < settled:
            run()
        times: list[float] = []
        end = clock() + seconds
        while not times or clock() < end:
            start = clock()
            run()
            times.append(clock() - start)
        return {"times": times}


def serve(worker: Worker, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until they end."""
    for line in requests:
        try:
            answer = worker.answer(json.loads(line))
        except ResnetcError as error:
            answer = {"failed": kind_of(error), "message": str(error)}
        except Exception as error:  # any framework may fail in any way: the report says so
            traceback.print_exc()
            told = str(error).strip().splitlines() or ["no message"]
            answer = {"failed": "failed", "message": f"{type(error).__name__}: {told[0]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve on stdin and stdout; what libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us decides when we end
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(Worker(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
