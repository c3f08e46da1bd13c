"""Runs a benchmark: prepares every backend in a process of its own, then lets them take turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnetc import __version__
from resnetc.bench.backends import BACKENDS, REFERENCE, require_known
from resnetc.bench.failure import WorkerError
from resnetc.bench.machine import gpus, load_average, machine, versions
from resnetc.bench.process import WorkerProcess
from resnetc.bench.report import TOLERANCES, Failure, Measurement, Parity, Report
from resnetc.bench.request import Job, Request, Scene
from resnetc.driver import load

_PACKAGES = (
    *("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("tensorrt", "tensorrt-rtx", "numpy"),
)
_WITHOUT_GPU = ("eager", "compile", "onnxruntime")
Say = Callable[[str], None]
"""Takes progress, a line at a time."""


@dataclass
class _Entrant:
    """A backend in a scene, from its preparation to its last round."""

    name: str
    process: WorkerProcess
    facts: dict[str, Any] = field(default_factory=dict)
    prepare_seconds: float = 0.0
    parity: Parity | None = None
    rounds: list[list[float]] = field(default_factory=list)


def run_bench(request: Request, say: Say = lambda line: None) -> Report:
    """Measure every backend in every scene.

    A backend that fails is noted in the report and the others go on. Raises UsageError and
    CompileError for a request that cannot begin, and what keeps the reference from running.
    """
    require_known(request.backends)
    network = load(request.network, request.settings, outputs=request.outputs)
    about = {
        "resnetc": __version__,
        "network": network.name,
        "reference": network.reference,
        "settings": dict(request.settings),
        "outputs": list(network.graph.outputs),
        "graph_hash": network.graph.hash,
        "gmacs": round(network.cost.macs / 1e9, 4),
        "weights": request.weights or f"random, seed {request.seed}",
        "machine": machine(),
        "load_average_before": load_average(),
        "gpus": gpus(),
        "versions": versions(_PACKAGES),
    }
    report = Report(request, about)
    for scene in request.scenes:
        with tempfile.TemporaryDirectory(prefix="resnetc-bench-") as folder:
            _Session(request, scene, network.graph.hash, Path(folder), report, say).run()
    return report


class _Session:
    """One scene: all entrants are prepared, checked and warmed, then measured in turns."""

    def __init__(
        self,
        request: Request,
        scene: Scene,
        graph_hash: str,
        folder: Path,
        report: Report,
        say: Say,
    ) -> None:
        self._request = request
        self._scene = scene
        self._hash = graph_hash
        self._folder = folder
        self._report = report
        self._say = say
        self._expected = str(folder / "reference.npy")

    def run(self) -> None:
        device = self._make_reference()
        with ExitStack() as stack:
            entrants = []
            for name in self._request.backends or _default_backends(device):
                process = WorkerProcess(name, BACKENDS[name], self._request.threads)
                entrant = _Entrant(name, stack.enter_context(process))
                if self._attempt(entrant, "prepare", lambda e: self._prepare(e, device)):
                    entrants.append(entrant)
            for entrant in self._measured_in_turns(entrants):
                self._report.measurements.append(self._measurement(entrant))

    def _make_reference(self) -> str:
        """Save the reference's output; returns the device it ran on.

        Without it nothing can be checked, so its failure ends the benchmark.
        """
        scene = Scene(self._scene.batch, "fp32")
        with WorkerProcess("reference", BACKENDS[REFERENCE], self._request.threads) as process:
            job = self._job("reference", scene, self._request.device, tf32=False)
            try:
                answer = process.ask({"do": "prepare", "job": job}, self._request.patience)
                process.ask({"do": "save", "path": self._expected}, self._request.patience)
            except WorkerError as failure:
                raise failure.as_error("the reference, eager torch in fp32") from None
        device: str = answer["facts"]["device"]
        return device

    def _prepare(self, entrant: _Entrant, device: str) -> None:
        job = self._job(entrant.name, self._scene, device, tf32=self._request.tf32)
        answer = self._ask(entrant, {"do": "prepare", "job": job})
        entrant.facts, entrant.prepare_seconds = answer["facts"], answer["seconds"]
        found = self._ask(entrant, {"do": "check", "path": self._expected})
        precision = self._scene.precision
        if precision == "fp32" and entrant.facts["tf32"]:
            precision = "tf32"
        entrant.parity = Parity(found["error"], TOLERANCES[precision], found["top1"])
        self._ask(entrant, {"do": "measure", "seconds": self._request.warm_up})
        self._say(f"{self._scene}: {entrant.name} ready in {entrant.prepare_seconds:.1f} s")

    def _measured_in_turns(self, entrants: list[_Entrant]) -> list[_Entrant]:
        """All that last to the end. Each round starts with another entrant."""
        part = self._request.seconds / self._request.rounds
        for number in range(self._request.rounds):
            first = number % max(1, len(entrants))
            for entrant in [*entrants[first:], *entrants[:first]]:
                if not self._attempt(entrant, "run", lambda e: self._measure(e, part)):
                    entrants.remove(entrant)
            self._say(f"{self._scene}: round {number + 1} of {self._request.rounds}")
        return entrants

    def _measure(self, entrant: _Entrant, seconds: float) -> None:
        answer = self._ask(entrant, {"do": "measure", "seconds": seconds})
        entrant.rounds.append(answer["times"])

    def _measurement(self, entrant: _Entrant) -> Measurement:
        assert entrant.parity is not None
        return Measurement(
            entrant.name,
            self._scene,
            entrant.facts,
            entrant.prepare_seconds,
            entrant.parity,
            entrant.rounds,
        )

    def _attempt(self, entrant: _Entrant, step: str, work: Callable[[_Entrant], None]) -> bool:
        """Whether the work was done; if not, the failure is noted and the process ended."""
        try:
            work(entrant)
        except WorkerError as failure:
            entrant.process.end()
            noted = Failure(entrant.name, self._scene, step, failure.kind, failure.message)
            self._report.failures.append(noted)
            self._say(str(noted))
            return False
        return True

    def _ask(self, entrant: _Entrant, request: dict[str, Any]) -> dict[str, Any]:
        return entrant.process.ask(request, self._request.patience)

    def _job(self, name: str, scene: Scene, device: str, *, tf32: bool) -> dict[str, Any]:
        scratch = self._folder / name
        scratch.mkdir()
        job = Job.of(self._request, scene, self._hash, device, str(scratch))
        return {**job.to_json(), "tf32": tf32}


def _default_backends(device: str) -> tuple[str, ...]:
    return (*_WITHOUT_GPU, "tensorrt") if device == "cuda" else _WITHOUT_GPU
