"""`resnetc doctor`: what is installed, what is missing, and what would mend it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass

import click

from resnetc import __version__
from resnetc.cli.arguments import json_option


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` is empty where nothing is missing."""

    what: str
    found: str
    serves: str
    remedy: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine has and what it lacks."""
    findings = [*_packages(), _gpu(), _data()]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    click.echo(f"resnetc {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for finding in findings:
        mark = (
            click.style("missing", fg="yellow") if finding.remedy else click.style("ok", fg="green")
        )
        click.echo(f"  {mark:<8} {finding.what}: {finding.found} ({finding.serves})")
        if finding.remedy:
            click.echo(f"           {finding.remedy}")


_DISTRIBUTIONS = (
    (("torch",), "training", "pip install torch"),
    (("torchvision",), "data and transforms", "pip install torchvision"),
    (("onnx",), "ONNX export", "pip install onnx"),
    (
        ("onnxruntime", "onnxruntime-gpu"),
        "verify and bench",
        "pip install 'resnetc[cpu]' (or [gpu])",
    ),
    (("tensorrt_rtx", "tensorrt"), "TensorRT engines", "pip install 'resnetc[tensorrt-rtx]'"),
)


def _packages() -> list[Finding]:
    return [_package(*row) for row in _DISTRIBUTIONS]


def _package(names: tuple[str, ...], serves: str, remedy: str) -> Finding:
    for name in names:
        try:
            return Finding(name, importlib.metadata.version(name), serves)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(" or ".join(names), "not installed", serves, remedy)


def _gpu() -> Finding:
    serves = "training on a GPU, running TensorRT engines"
    try:
        import torch
    except ImportError:
        return Finding("GPU", "unknown without torch", serves, "pip install torch")
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        name = torch.cuda.get_device_name()
        return Finding("GPU", f"{name}, compute capability {major}.{minor}", serves)
    return Finding("GPU", "none that torch can use", serves, "everything else works on the CPU")


def _data() -> Finding:
    serves = "the embedded data set"
    try:
        return Finding(
            "digits", f"scikit-learn {importlib.metadata.version('scikit-learn')}", serves
        )
    except importlib.metadata.PackageNotFoundError:
        return Finding("digits", "not installed", serves, "pip install scikit-learn")
