"""A training step beside the same network by other hands: images a second, memory, overhead.

    python benchmarks/train.py                             # writes benchmarks/results/train.json
    python benchmarks/train.py --device cuda --precision bf16 --compile --repeats 20
    python benchmarks/train.py --networks resnet20 --rounds 1 --dry-run     # prints, writes nothing

Contestants of a network hold the same weights and take turns within every round, so that a ratio is
of neighbours in time. Each call is `--repeats` steps of SGD with momentum.

- "resnetc": the step of `resnetc train` with its feed. Numbers of samples become augmented images
  of a set that lies on the device; loss, right answers and images are counted.
- "resnetc, recorded", on CUDA: the same as one graph. "resnetc, compiled": its repeated blocks.
- "..., bare": forward, cross-entropy, backward and update on one batch that never changes: by our
  module, torchvision's, timm's, and for CIFAR by one written as torchvision writes its own.
  "..., bare, compiled": the same after `torch.compile`.
- "floor", on CUDA: our bare step as a graph, which is what remains where launching costs nothing.

Each layout is measured for itself. Channels last, as `resnetc train` has it, the bare loop over the
first peer takes part "contiguous", too, which is what nobody chose: `speed_over_plain_loop` is over
that. On the CPU a pass of its own tells how much of our step lies outside forward, loss, backward
and update, and each peak of memory is that of a process of its own. `seconds_until_ready` is from
nothing to the end of a first call, in which compilers compile; their caches are off. A network that
is not asked for keeps the figures of its last run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

import harness
from contestants import PEERS, Ours, Setting, Work, bare_step, captured, share_outside
from resnetc.backends.torch import build_module
from resnetc.bench.statistics import median
from resnetc.driver import load
from traffic import copy_speed, step_bytes

NETWORKS = ("resnet50", "resnet152", "resnet20", "resnet56", "resnet110", "resnet1202")
BATCHES = {
    "cpu": {"resnet50": 8, "resnet152": 4, "resnet1202": 16},
    "cuda": {"resnet50": 256, "resnet152": 128},
}
"""Images a step, 128 where nothing is said, as in the paper for CIFAR."""
PACKAGES = ("torch", "torchvision", "timm", "numpy")
OURS = "resnetc"


def contestants(setting: Setting, *, compiled: bool) -> dict[str, Callable[[], Work]]:
    """Who takes part, by name, each made when it is asked for."""
    graph, cuda = load(setting.network).graph, setting.where.type == "cuda"

    def module() -> torch.nn.Module:
        return build_module(graph, seed=0)

    def peer(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
        theirs = make()
        theirs.load_state_dict(module().state_dict(), strict=True)
        return theirs

    everyone: dict[str, Callable[[], Work]] = {OURS: lambda: Ours.of(setting).plain()}
    if compiled:
        everyone[f"{OURS}, compiled"] = lambda: Ours.of(setting).compiled()
    if cuda:
        everyone[f"{OURS}, recorded"] = lambda: Ours.of(setting).recorded()
        everyone["floor"] = lambda: captured(bare_step(module(), setting))
    bare = {OURS: module}
    bare |= {name: lambda make=make: peer(make) for name, make in PEERS[setting.network].items()}
    for name, make in bare.items():
        everyone[f"{name}, bare"] = lambda make=make: bare_step(make(), setting)
        if compiled:
            everyone[f"{name}, bare, compiled"] = lambda make=make: bare_step(
                torch.compile(make()), setting
            )
    if setting.channels_last:
        peer_name, make_peer = next(iter(PEERS[setting.network].items()))
        plain = replace(setting, channels_last=False)
        everyone[f"{peer_name}, bare, contiguous"] = lambda: bare_step(peer(make_peer), plain)
    return everyone


def baseline_of(setting: Setting) -> str:
    """Who the others are held against: the bare loop over the first peer."""
    return f"{next(iter(PEERS[setting.network]))}, bare"


# A compiler's cache would give one contestant what it made for another, or in another run.
@torch.compiler.config.patch(force_disable_caches=True)
def measure(setting: Setting, rounds: int, repeats: int, *, compiled: bool) -> dict[str, Any]:
    """All contestants of a network: seconds a step, images a second, and how they compare."""
    makers = contestants(setting, compiled=compiled)
    works, peaks, ready = {}, {}, {}
    for name, make in makers.items():
        before, began = allocated(setting), time.perf_counter()
        works[name] = many(make(), repeats, setting)
        works[name]()
        ready[name] = round(time.perf_counter() - began, 3)
        peaks[name] = peak(works[name], setting, before)
        print(f"{setting.network}: {name} is ready", file=sys.stderr)
    times = harness.interleave(works, rounds)
    times = {name: [each / repeats for each in found] for name, found in times.items()}
    baseline = baseline_of(setting)
    found = {
        name: {
            "seconds": harness.summary(seconds),
            "images_per_second": round(setting.batch / median(seconds), 1),
            "speed_over_baseline": harness.ratio(times[baseline], seconds),
            "peak_bytes": peaks[name],
            "seconds_until_ready": ready[name],
        }
        for name, seconds in times.items()
    }
    plain = times.get(f"{baseline}, contiguous")
    if plain is not None:
        found[OURS]["speed_over_plain_loop"] = harness.ratio(plain, times[OURS])
    return {
        **asdict(setting),
        "gpu": torch.cuda.get_device_name() if setting.where.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "repeats": repeats,
        "baseline": baseline,
        "contestants": found,
        **_limits(setting, times),
    }


def _limits(setting: Setting, times: Mapping[str, list[float]]) -> dict[str, Any]:
    """What our step could be at best: without launches, and at the memory's speed."""
    moved = step_bytes(
        load(setting.network).graph, setting.batch, 2 if setting.precision == "bf16" else 4
    )
    speed = copy_speed(setting.where)
    best = min((name for name in times if name.startswith(OURS)), key=lambda n: median(times[n]))
    limits: dict[str, Any] = {
        "memory": {
            "bytes_a_step": moved,
            "copied_bytes_a_second": round(speed),
            "of": best,
            "fraction_of_bandwidth": round(moved / median(times[best]) / speed, 4),
        }
    }
    if "floor" in times:
        steps = [name for name in (OURS, f"{OURS}, recorded") if name in times]
        limits["over_floor"] = {n: harness.ratio(times[n], times["floor"]) for n in steps}
    if setting.where.type == "cpu":
        limits["share_outside"] = round(share_outside(setting), 4)
    return limits


def many(work: Work, repeats: int, setting: Setting) -> Work:
    """So many steps, and their end."""

    def steps() -> None:
        for _ in range(repeats):
            work()
        if setting.where.type == "cuda":
            torch.cuda.synchronize(setting.where)

    return steps


# ---------------------------------------------------------------------------------------- memory


def allocated(setting: Setting) -> int:
    """Bytes of a CUDA device that are in use."""
    return torch.cuda.memory_allocated(setting.where) if setting.where.type == "cuda" else 0


def peak(work: Work, setting: Setting, before: int) -> int | None:
    """Most bytes of a CUDA device in use during steps, above `before`: weights, images and what a
    graph keeps included. Of a CPU, a process of its own tells."""
    if setting.where.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(setting.where)
    work()
    return int(torch.cuda.max_memory_allocated(setting.where)) - before


def peaks_of_processes(setting: Setting, *, compiled: bool) -> dict[str, int]:
    """Each contestant's peak of resident memory in two steps, above what it held before them."""
    found = {}
    for name in contestants(setting, compiled=compiled):
        asked = json.dumps([asdict(setting), name, compiled, torch.get_num_threads()])
        argv = [sys.executable, __file__, "--peak-of", asked]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        found[name] = int(said)
    return found


def print_peak(asked: str) -> None:
    """In a process of its own: make a contestant, take two steps, print what they took."""
    fields, name, compiled, threads = json.loads(asked)
    torch.set_num_threads(threads)
    work = contestants(Setting(**fields), compiled=compiled)[name]()
    before = harness.forget_peak()
    for _ in range(2):
        work()
    print(harness.own_peak() - before)


# ------------------------------------------------------------------------------------------ main


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--device", choices=BATCHES, default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument(
        "--layouts",
        nargs="+",
        choices=("contiguous", "channels_last"),
        default=("contiguous", "channels_last"),
    )
    parser.add_argument("--batch", type=int, help="Images a step, for every network.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--repeats", type=int, default=1, help="Steps between two looks at a clock."
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="Compiled contestants take part.")
    parser.add_argument("--no-peaks", action="store_true", help="On the CPU, no peaks of memory.")
    parser.add_argument("--dry-run", action="store_true", help="Print the result, and write none.")
    parser.add_argument("--peak-of", metavar="JSON", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak_of is not None:
        print_peak(asked.peak_of)
        return
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here")
    torch.set_num_threads(asked.threads)
    name = "train" if asked.device == "cpu" else "train_cuda"
    for network in asked.networks:
        for layout in asked.layouts:
            found = {f"{network}, {layout}": measured(network, layout, asked)}
            if asked.dry_run:
                print(json.dumps(found, indent=2))
                continue
            harness.write(name, {**harness.earlier(name), **found}, PACKAGES)
            print(json.dumps(found, indent=2), flush=True)


def measured(network: str, layout: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One network in one layout, as the command line asks for it."""
    batch = asked.batch or BATCHES[asked.device].get(network, 128)
    setting = Setting(network, batch, asked.device, asked.precision, layout == "channels_last")
    found = measure(setting, asked.rounds, asked.repeats, compiled=asked.compile)
    if asked.device == "cpu" and not asked.no_peaks:
        for name, taken in peaks_of_processes(setting, compiled=asked.compile).items():
            found["contestants"][name]["peak_bytes"] = taken
    return found


if __name__ == "__main__":
    main()
