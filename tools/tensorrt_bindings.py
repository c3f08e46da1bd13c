"""Writes down which names the real bindings of TensorRT have, where the library itself is not.

    pip download --no-deps tensorrt-cu13-bindings==11.4.0.106
    python tools/tensorrt_bindings.py tensorrt_cu13_bindings-*.whl

The wheel of the bindings holds the Python module without libnvinfer. The module asks the library
for a few functions only, and needs none of them while it is imported: with stand-ins for these (a
C compiler is needed) it can be looked at on any machine. What is found goes to
tests/golden/tensorrt/<version>.json, against which tests/test_tensorrt_contract.py holds the names
that the backend uses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TABLES = Path(__file__).parent.parent / "tests" / "golden" / "tensorrt"
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
LOOK = """
import inspect, json, tensorrt_bindings as module
classes = {
    name: sorted(n for n in dir(found) if not n.startswith("_"))
    for name, found in vars(module).items()
    if inspect.isclass(found) and not name.startswith("_")
}
print(json.dumps({"version": module.__version__, "classes": classes}))
"""


def look(wheel: Path) -> dict[str, object]:
    """The version and the public names of every class in a wheel of the bindings."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        zipfile.ZipFile(wheel).extractall(root)
        (root / "stand_ins.c").write_text(
            "".join(f"int {f}() {{ return 0; }}\n" for f in FUNCTIONS)
        )
        major = wheel.name.split("-")[1].split(".")[0]
        for library in LIBRARIES:
            name = f"lib{library}.so.{major}"
            command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "stand_ins.c"]
            subprocess.run(command, cwd=root, check=True)
        seen = subprocess.run(
            [sys.executable, "-c", LOOK],
            cwd=root,
            env={**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": folder},
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, object] = json.loads(seen.stdout)
    return found


def main(wheels: list[str]) -> None:
    """Write one table for each wheel."""
    TABLES.mkdir(parents=True, exist_ok=True)
    for wheel in map(Path, wheels):
        found = {"wheel": wheel.name, **look(wheel)}
        path = TABLES / f"{found['version']}.json"
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
