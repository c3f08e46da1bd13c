"""How the builder is to work: caches, compatibility, weights that can be exchanged, effort, memory.

What is asked for and a library lacks is refused with the reason, which stands in `library.LACKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnetc.atomic import replacing
from resnetc.backends.tensorrt.library import Library
from resnetc.diagnostics import RunError, UsageError

HARDWARE = {"ampere+": "AMPERE_PLUS", "same": "SAME_COMPUTE_CAPABILITY"}
"""Our words for the levels of hardware compatibility, and the library's."""
MOST_EFFORT = 5

Progress = Callable[[str, str | None, int, int], object]
"""Takes a phase, the phase around it, and how many of its steps are done of how many."""


@dataclass(frozen=True)
class EngineSettings:
    """What the builder may be told beside precision and batch.

    `timing_cache`: a file of measured tactics, read where it exists and written afterwards.
    `hardware`: "ampere+" for an engine of every GPU from Ampere on, "same" for every GPU of this
    compute capability. `version_compatible`: for later versions of the library too, which puts a
    lean runtime into the engine. `refit`: weights can be exchanged later; `strip`: they must be,
    for the engine has none. `optimization_level`: 0 (fast to build) to 5. `workspace`: bytes that
    layers may use for scratch. `progress` is told of every step, and may raise to end the build.

    Raises UsageError for what makes no sense.
    """

    timing_cache: Path | None = None
    hardware: str | None = None
    version_compatible: bool = False
    refit: bool = False
    strip: bool = False
    optimization_level: int | None = None
    workspace: int | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.hardware is not None and self.hardware not in HARDWARE:
            raise UsageError(f"engines are compatible with {' or '.join(HARDWARE)} hardware")
        level = self.optimization_level
        if level is not None and not 0 <= level <= MOST_EFFORT:
            raise UsageError(f"the optimization level is 0 to {MOST_EFFORT}, not {level}")
        if self.workspace is not None and self.workspace < 1:
            raise UsageError(f"a workspace has at least one byte, not {self.workspace}")

    @property
    def asked(self) -> dict[str, Any]:
        """What differs from the default, by name, in a form for JSON."""
        held = {
            "timing_cache": None if self.timing_cache is None else str(self.timing_cache),
            "hardware": self.hardware,
            "version_compatible": self.version_compatible,
            "refit": self.refit,
            "strip": self.strip,
            "optimization_level": self.optimization_level,
            "workspace": self.workspace,
        }
        return {
            name: value for name, value in held.items() if value is not None and value is not False
        }


def configure(library: Library, config: Any, settings: EngineSettings) -> Monitor | None:
    """Tell a builder's configuration all of it; returns who listens to the builder, if any.

    Raises UsageError and MissingError for what this library, or this machine, cannot do.
    """
    for name in settings.asked:
        library.require(name)
    trt = library.module
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.strip:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if settings.refit or settings.strip:
        config.set_flag(trt.BuilderFlag.REFIT)
    if settings.hardware is not None:
        level = getattr(trt.HardwareCompatibilityLevel, HARDWARE[settings.hardware])
        config.hardware_compatibility_level = level
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    if settings.timing_cache is not None:
        _read_cache(library, config, settings.timing_cache)
    if settings.progress is None:
        return None
    monitor = make_monitor(trt, settings.progress)
    config.progress_monitor = monitor
    return monitor


# ---------------------------------------------------------------------------------- timing cache


def _read_cache(library: Library, config: Any, path: Path) -> None:
    held = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(held)
    if cache is None or not config.set_timing_cache(cache, False):
        raise RunError(
            f"{path}: {library.name} {library.version} does not take this timing cache: it is of "
            "another version or GPU, or damaged; name another file"
        )


def write_cache(config: Any, path: Path) -> None:
    """Keep what the builder has measured for the next engine."""
    data = memoryview(config.get_timing_cache().serialize())
    with replacing(path) as file:
        file.write(data)


# -------------------------------------------------------------------------------------- progress


class Monitor:
    """What a progress monitor does, whatever library it is registered with.

    An exception in here would be lost in the library, and Ctrl-C with it: it is kept in
    `interruption`, the builder is told to stop, and whoever started it raises.
    """

    def __init__(self, say: Progress) -> None:
        self.interruption: BaseException | None = None
        self._say = say
        self._phases: dict[str, tuple[str | None, int]] = {}

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """The builder begins a phase of so many steps."""
        self._phases[phase_name] = (parent_phase, num_steps)
        self._tell(phase_name, 0)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Whether the builder is to go on."""
        self._tell(phase_name, step + 1)
        return self.interruption is None

    def phase_finish(self, phase_name: str) -> None:
        """The builder has ended a phase, which may have had fewer steps than it said."""
        _, steps = self._phases.get(phase_name, (None, 0))
        self._tell(phase_name, steps)
        self._phases.pop(phase_name, None)

    def _tell(self, phase: str, done: int) -> None:
        if self.interruption is not None:
            return
        parent, steps = self._phases.get(phase, (None, 0))
        try:
            self._say(phase, parent, min(done, steps), steps)
        except BaseException as error:  # see the class
            self.interruption = error


def make_monitor(module: Any, say: Progress) -> Monitor:
    """A `Monitor` that is the library's IProgressMonitor too."""

    class Registered(Monitor, module.IProgressMonitor):  # type: ignore[misc]  # found at run time
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            Monitor.__init__(self, say)

    return Registered()
