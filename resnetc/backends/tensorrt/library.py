"""Which TensorRT is here, and everything in which the two libraries and their versions differ.

`tensorrt` is the data-centre library: it builds on the GPU it builds for. `tensorrt_rtx` builds
ahead of time, without a GPU, for a list of compute capabilities. Their Python faces are the same
but for what stands in this file.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from resnetc.diagnostics import MissingError, RunError, UsageError

REMEDIES: dict[str, str] = {
    "tensorrt": "pip install 'resnetc[gpu]'",
    "tensorrt_rtx": "pip install 'resnetc[tensorrt-rtx]'",
}
AHEAD_OF_TIME = ("8.0", "8.6", "8.9", "12.0")
"""Compute capabilities an engine is built for where no GPU tells (NVIDIA's list for RTX)."""
FROM: dict[str, str] = {"fp8": "8.9"}
"""The first compute capability that computes in a precision, where that is not all of them."""
LACKS: dict[str, dict[str, str]] = {
    "tensorrt": {},
    "tensorrt_rtx": {
        "timing_cache": "it times no tactics when it builds, so its timing cache holds nothing; "
        "tactics are chosen on the user's GPU at first use",
        "hardware": "it builds for compute capabilities that are listed: --capability 8.6 "
        "--capability 12.0",
        "version_compatible": "it comes without the lean runtime that such an engine holds",
    },
}
"""What each library cannot do, by the name of the setting, and why."""
NEEDS_GPU: dict[str, frozenset[str]] = {
    "tensorrt": frozenset(),  # needs one for whatever it builds
    "tensorrt_rtx": frozenset({"refit", "strip"}),
}
"""What a library that builds without a GPU does only with one: it compiles kernels on the way."""
_OLDEST = 10

_NOUNS = {
    "hardware": "hardware compatibility",
    "version_compatible": "version compatibility",
    "refit": "weights that can be exchanged",
    "strip": "its weights stripped",
}
"""Settings in words, where their name is none."""

log = logging.getLogger("resnetc.tensorrt")


@dataclass(frozen=True)
class Library:
    """An imported TensorRT."""

    name: str
    module: Any

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def ahead_of_time(self) -> bool:
        """Whether it builds without a GPU, for compute capabilities that are listed."""
        return self.name == "tensorrt_rtx"

    @property
    def keeps_refit_by_flag(self) -> bool:
        """Whether an engine that is serialized again must be told to stay refittable."""
        return hasattr(self.module.SerializationFlag, "INCLUDE_REFIT")

    def require(self, setting: str) -> None:
        """Raise UsageError for a setting the library lacks, MissingError for one that needs a GPU
        where there is none."""
        said = setting.replace("_", " ")
        if (reason := LACKS[self.name].get(setting)) is not None:
            raise UsageError(f"{self.name} has no {_NOUNS.get(setting, said)}: {reason}")
        if setting in NEEDS_GPU[self.name] and not gpu_present():
            raise MissingError(
                f"{self.name} needs an NVIDIA GPU to build an engine with "
                f"{_NOUNS.get(setting, said)}, and there is none here",
                "build it on a machine with a GPU, or leave the option out",
            )

    def create_network(self, builder: Any) -> Any:
        """An empty, strongly typed network. From 11.0 on, and in RTX, there is no other kind."""
        flags = 0
        if self.name == "tensorrt" and major(self.version) == _OLDEST:
            flags = 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return builder.create_network(flags)

    def set_targets(
        self, config: Any, asked: tuple[str, ...], precision: str = "fp32"
    ) -> tuple[str, ...]:
        """Tell the builder which compute capabilities to build for; returns them, as "8.6".

        None asked: the GPU's that is here ("current"), else all of RTX's list that have the
        precision. Raises UsageError for one that the library does not know, that lacks the
        precision, or that cannot be asked for.
        """
        if not self.ahead_of_time:
            if asked:
                raise UsageError(
                    "tensorrt builds for the GPU it runs on; compute capabilities can be chosen "
                    "with --library tensorrt_rtx"
                )
            return ("current",)
        targets = asked or (("current",) if gpu_present() else able(AHEAD_OF_TIME, precision))
        if lacking := [target for target in targets if target not in able(targets, precision)]:
            raise UsageError(
                f"compute capability {lacking[0]} has no {precision}, which begins with "
                f"{FROM[precision]}: --capability {FROM[precision]}"
            )
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            if not config.set_compute_capability(self._capability(target), index):
                raise RunError(f"{self.name} refuses compute capability {target}")
        return targets

    def _capability(self, target: str) -> Any:
        known = self.module.ComputeCapability
        name = "CURRENT" if target == "current" else f"SM{target.replace('.', '')}"
        if (capability := getattr(known, name, None)) is None:
            names = [each.removeprefix("SM") for each in dir(known) if each.startswith("SM")]
            offered = ", ".join(f"{each[:-1]}.{each[-1]}" for each in sorted(names, key=int))
            raise UsageError(f"{self.name} does not know compute capability {target}: {offered}")
        return capability


def able(capabilities: Iterable[str], precision: str) -> tuple[str, ...]:
    """Those of some compute capabilities that compute in a precision; of what is no number, as of
    the GPU here, the library tells."""
    first = _number(FROM.get(precision, "0.0"))
    return tuple(each for each in capabilities if (_number(each) or first) >= first)


def _number(capability: str) -> tuple[int, ...]:
    parts = capability.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def find_library(name: str | None = None) -> Library:
    """The library asked for, else `tensorrt` where a GPU is, else `tensorrt_rtx`.

    Raises MissingError, with the command that mends it, when it is not installed, is too old, or
    needs a GPU that is not here.
    """
    if name is None:
        name = _choose()
    module = _import(name)
    library = Library(name, module)
    if name == "tensorrt" and major(library.version) < _OLDEST:
        raise MissingError(
            f"tensorrt {library.version} is too old: strongly typed networks came with 10.0",
            f"{REMEDIES[name]} --upgrade",
        )
    if not library.ahead_of_time and not gpu_present():
        raise MissingError(
            "tensorrt builds engines on an NVIDIA GPU, and there is none here; tensorrt_rtx "
            "builds them without one",
            f"{REMEDIES['tensorrt_rtx']}  # then --library tensorrt_rtx",
        )
    return library


def _choose() -> str:
    installed = {name: importlib.util.find_spec(name) is not None for name in REMEDIES}
    if not any(installed.values()):
        raise MissingError(
            "neither tensorrt nor tensorrt_rtx is installed; the second needs no GPU to build",
            f"{REMEDIES['tensorrt_rtx']}\n{REMEDIES['tensorrt']}",
        )
    if installed["tensorrt"] and (gpu_present() or not installed["tensorrt_rtx"]):
        return "tensorrt"
    return "tensorrt_rtx"


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingError(f"{name} is not installed", REMEDIES[name]) from error
    except Exception as error:  # a broken native library can fail in any way
        raise MissingError(f"{name} cannot be imported: {error}", REMEDIES[name]) from error


def major(version: str) -> int:
    """The first number of a version."""
    return int(version.split(".")[0])


def gpu_present() -> bool:
    """Whether the driver sees an NVIDIA GPU. Asked of the driver: torch may be without CUDA."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return found and count.value > 0


def make_logger(module: Any) -> Any:
    """A TensorRT logger that writes to `logging` and keeps the errors for a message.

    Its list `errors` holds what was said at ERROR and above.
    """

    class Routed(module.ILogger):  # type: ignore[misc]  # the base class is found at run time
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            log.log(levels.get(severity, logging.DEBUG), "%s", message)

    levels = {
        module.ILogger.WARNING: logging.WARNING,
        # An error ends in an exception that carries it; said twice it would only confuse.
        module.ILogger.ERROR: logging.DEBUG,
        module.ILogger.INTERNAL_ERROR: logging.DEBUG,
    }
    return Routed()
