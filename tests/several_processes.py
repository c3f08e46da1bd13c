"""Runs of several processes, for tests: one interpreter loads everything and forks them.

`python several_processes.py FOLDER SIZE PORT` reads jobs from FOLDER/jobs.json. Every process does
all of them, one after the other, in a folder of its own; FOLDER/RANK/found.json holds what each
job gave, or the error that it raised. A job may have one of the processes fail.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

LIMIT = 240
"""Seconds that a batch of jobs may take on a busy machine."""


def together(
    folder: Path, size: int, jobs: list[dict[str, Any]], lost: int | None = None
) -> list[list[dict[str, Any]]]:
    """What each job gave, by process and job: {"gave": ...} or {"raised": ..., "said": ...}.

    Process `lost` is expected not to come to an end, and to give nothing.
    """
    folder.mkdir(exist_ok=True)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, __file__, str(folder), str(size), str(free_port())]
    command += [] if lost is None else [str(lost)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "frame #" not in done.stderr, done.stderr[-4000:]
    ranks = [rank for rank in range(size) if rank != lost]
    return [json.loads((folder / f"{rank}/found.json").read_text()) for rank in ranks]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _do(job: dict[str, Any]) -> Any:
    from resnetc.driver import load
    from resnetc.train import EvaluateOptions, TrainOptions, evaluate, train

    if "fails" in job:
        _fail(**job["fails"])
    net = load(job["network"])
    options = job.get("options", {})
    if "weights" in job:
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        return evaluate(net, job["weights"], EvaluateOptions(**options)).to_json()
    options["overrides"] = tuple(options.get("overrides", ()))
    options["out"] = Path(options["out"])
    settings = {"data": "digits", "threads": 1, "progress": False, "device": "cpu"}
    return train(net, TrainOptions(**{**settings, **options})).to_json()


def _fail(rank: int, step: int, how: str) -> None:
    """Let process `rank` fail after a step: by a signal's name, or by an error's text."""
    from resnetc.diagnostics import RunError
    from resnetc.train.step import Step

    if os.environ["RANK"] != str(rank):
        return
    whole = Step.end

    def failing(self: Step) -> None:
        whole(self)
        if self.state.step == step:
            if how.startswith("SIG"):
                os.kill(os.getpid(), signal.Signals[how])
            raise RunError(how)

    Step.end = failing  # type: ignore[method-assign]


def found_by_one(job: dict[str, Any]) -> dict[str, Any]:
    """What a job gives in this process."""
    from resnetc.diagnostics import ResnetcError

    try:
        return {"gave": _do(job)}
    except ResnetcError as error:
        return {"raised": type(error).__name__, "said": str(error)}


def _one(folder: Path, rank: int, size: int, port: int) -> int:
    here = folder / str(rank)
    here.mkdir(exist_ok=True)
    os.chdir(here)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    found = [found_by_one(job) for job in json.loads((folder / "jobs.json").read_text())]
    (here / "found.json").write_text(json.dumps(found))
    return 0


def _main(folder: Path, size: int, port: int, lost: int | None = None) -> int:
    import resnetc.train  # noqa: F401  # once, for all

    children = []
    for rank in range(size):
        child = os.fork()
        if not child:
            code = 1
            try:
                code = _one(folder, rank, size, port)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    if lost is not None:
        gone = children.pop(lost)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if lost is not None:
        os.kill(gone, signal.SIGKILL)  # it may only be stopped
        os.waitpid(gone, 0)
    return max(codes)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
