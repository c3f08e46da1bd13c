"""What the builder is told beside precision: real engines where they need no GPU, else a fake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorrt_rtx
from fake_tensorrt import FakeTensorrt, with_tensorrt
from small_graphs import cifar_resnet, some_weights

import resnetc
from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import EngineReport, EngineSettings, TensorRtOptions, build_engine
from resnetc.backends.tensorrt import library as tensorrt_library
from resnetc.backends.tensorrt import refit as refitting
from resnetc.backends.tensorrt.refit import refit_engine
from resnetc.backends.tensorrt.report import LayerRow, engine_rows, timed
from resnetc.backends.tensorrt.settings import make_monitor
from resnetc.cli.main import run
from resnetc.diagnostics import MissingError, RunError, UsageError
from resnetc.ir import Graph

pytestmark = pytest.mark.usefixtures("without_gpu")


@pytest.fixture(scope="module")
def net() -> Graph:
    return cifar_resnet(8)


def built(
    net: Graph, path: Path, library: str | None = None, **settings: object
) -> tuple[EngineReport, dict[str, object]]:
    chosen = EngineSettings(**settings)  # type: ignore[arg-type]
    options = TensorRtOptions(library=library, settings=chosen)
    report = build_engine(net, path, random_weights(net), options=options)
    return report, json.loads(report.sidecar.read_text())


# ----------------------------------------------------------------------------- real engines (RTX)


def test_effort_and_workspace_reach_a_real_builder(tmp_path: Path, net: Graph) -> None:
    report, facts = built(net, tmp_path / "n", optimization_level=0, workspace=1 << 26)
    assert facts["settings"] == {"optimization_level": 0, "workspace": 1 << 26}
    assert report.settings == facts["settings"]
    _, plain = built(net, tmp_path / "m")
    assert plain["settings"] == {}


def test_progress_of_a_real_builder(tmp_path: Path, net: Graph) -> None:
    heard: list[tuple[str, str | None, int, int]] = []
    built(net, tmp_path / "n", progress=lambda *told: heard.append(told))
    (first, *_), last = heard, heard[-1]
    assert first[0] == last[0] == "Building engine"
    assert first[1:3] == (None, 0)
    assert last[2] == last[3] > 0
    assert {parent for _, parent, _, _ in heard} > {None, "Building engine"}
    assert all(0 <= done <= steps for _, _, done, steps in heard)


def test_a_listener_ends_a_real_build(tmp_path: Path, net: Graph) -> None:
    """As Ctrl-C does, which arrives while the builder calls back."""

    def interrupt(phase: str, parent: str | None, done: int, steps: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(net, tmp_path / "n", progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_builder_is_told_to_stop() -> None:
    def interrupt(phase: str, parent: str | None, done: int, steps: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    monitor = make_monitor(tensorrt_rtx, interrupt)
    monitor.phase_start("Building engine", None, 3)
    assert not monitor.step_complete("Building engine", 0)
    assert isinstance(monitor.interruption, KeyboardInterrupt)
    heard: list[int] = []
    monitor = make_monitor(tensorrt_rtx, lambda *told: heard.append(told[2]))
    monitor.phase_start("Building engine", None, 3)
    assert monitor.step_complete("Building engine", 0)
    monitor.phase_finish("Building engine")
    assert heard == [0, 1, 3]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"timing_cache": Path("c")}, UsageError, "has no timing cache: it times no tactics"),
        ({"hardware": "same"}, UsageError, "no hardware compatibility: .*--capability 8.6"),
        ({"version_compatible": True}, UsageError, "no version compatibility: .*lean runtime"),
        ({"refit": True}, MissingError, "needs an NVIDIA GPU .* weights that can be exchanged"),
        ({"strip": True}, MissingError, "needs an NVIDIA GPU .* its weights stripped"),
    ],
)
def test_what_rtx_lacks_is_refused_with_the_reason(
    tmp_path: Path, net: Graph, settings: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        built(net, tmp_path / "n", "tensorrt_rtx", **settings)
    assert not list(tmp_path.iterdir())


def test_the_reasons_are_true(net: Graph) -> None:
    """The real library fails where our table says so: a newer one that does not is noticed."""
    from resnetc.backends.onnx import model_bytes

    model = model_bytes(net, random_weights(net))
    for flag in ("VERSION_COMPATIBLE", "STRIP_PLAN"):
        logger = tensorrt_library.make_logger(tensorrt_rtx)
        builder = tensorrt_rtx.Builder(logger)
        network = builder.create_network(0)
        assert tensorrt_rtx.OnnxParser(network, logger).parse(model)
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(tensorrt_rtx.ComputeCapability.SM86, 0)
        profile = builder.create_optimization_profile()
        profile.set_shape("input", *((batch, 3, 32, 32) for batch in (1, 2, 4)))
        config.add_optimization_profile(profile)
        config.set_flag(getattr(tensorrt_rtx.BuilderFlag, flag))
        assert builder.build_serialized_network(network, config) is None


def test_every_layer_is_traced_to_the_spec(tmp_path: Path) -> None:
    net = resnetc.load("resnet20")
    report = net.to_tensorrt(tmp_path / "n.engine", random_weights(net.graph), precision="fp16")
    rows = {row.name: row for row in report.rows}
    conv = rows["layer2.0.conv1"]
    assert (conv.kind, conv.precision, conv.shape) == ("convolution", "fp16", (-1, 32, 16, 16))
    assert conv.nodes == ("layer2.0.conv1",)
    (place,) = conv.places
    file, _, line = place.rpartition(":")
    text = (Path(__file__).parent.parent / file).read_text().splitlines()[int(line) - 1]
    assert "conv1: conv(3x3, width" in text
    convolutions = [row for row in report.rows if row.kind == "convolution"]
    assert all(row.places for row in convolutions)
    assert len(convolutions) >= 19
    assert "rows" not in report.to_json()


# ------------------------------------------------------------------------- `tensorrt`, with a fake


@pytest.mark.parametrize("version", ["10.8.0", "11.0.0"])
def test_all_settings_reach_tensorrt(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    fake = with_tensorrt(monkeypatch, version)
    cache = tmp_path / "tactics"
    _, facts = built(
        net,
        tmp_path / "n",
        timing_cache=cache,
        hardware="ampere+",
        version_compatible=True,
        strip=True,
        optimization_level=5,
        workspace=1 << 30,
    )
    config = fake.asked["config"]
    assert set(config.flags) == {"version", "strip", "refit"}
    assert config.hardware_compatibility_level == "ampere+"
    assert config.builder_optimization_level == 5
    assert config.pools == {"workspace": 1 << 30}
    assert cache.read_bytes() == b"+timed"
    assert facts["settings"]["strip"] is True  # type: ignore[index]
    built(net, tmp_path / "n", timing_cache=cache)
    assert fake.asked["config"].cache.data == b"+timed"
    assert cache.read_bytes() == b"+timed+timed"


def test_nothing_is_told_that_was_not_asked(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = with_tensorrt(monkeypatch, "11.0.0")
    built(net, tmp_path / "n")
    config = fake.asked["config"]
    assert (config.flags, config.pools, config.cache) == ([], {}, None)
    assert config.progress_monitor is None
    assert config.hardware_compatibility_level is None
    built(net, tmp_path / "n", refit=True)
    assert fake.asked["config"].flags == ["refit"]


def test_a_timing_cache_of_another_gpu_is_kept_and_named(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tensorrt(monkeypatch, "11.0.0")
    cache = tmp_path / "tactics"
    cache.write_bytes(b"other GPU")
    with pytest.raises(
        RunError, match=r"tactics: tensorrt 11\.0\.0 does not take this timing cache"
    ):
        built(net, tmp_path / "n", timing_cache=cache)
    assert cache.read_bytes() == b"other GPU"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hardware": "turing"}, "ampere\\+ or same"),
        ({"optimization_level": 6}, "0 to 5, not 6"),
        ({"workspace": 0}, "at least one byte"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        EngineSettings(**settings)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- refit


def refittable(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch, version: str = "11.0.0"
) -> tuple[FakeTensorrt, Path]:
    fake = with_tensorrt(monkeypatch, version)
    monkeypatch.setattr(refitting, "gpu_present", lambda: True)
    built(net, tmp_path / "n.engine", strip=True)
    return fake, tmp_path / "n.engine"


@pytest.mark.parametrize("version", ["10.8.0", "11.0.0"])
def test_an_engine_takes_other_weights(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    fake, engine = refittable(tmp_path, net, monkeypatch, version)
    before = json.loads(Path(f"{engine}.json").read_text())
    assert refit_engine(net, engine, some_weights(net)) == engine
    after = json.loads(Path(f"{engine}.json").read_text())
    assert fake.asked["opened"] == b"engine"
    assert engine.read_bytes().startswith(b"refitted ")
    assert b"conv1.weight" in engine.read_bytes()
    kept = [] if version.startswith("10") else ["+include refit"]
    assert fake.asked["serialization"] == ["-exclude weights", *kept]
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"engine_sha256", "weights_hash"}


def test_refusals_of_a_refit(tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, engine = refittable(tmp_path, net, monkeypatch)
    with pytest.raises(UsageError, match="was built from another network"):
        refit_engine(cifar_resnet(14), engine, {})
    with pytest.raises(UsageError, match=r"missing: conv1\.weight"):
        refit_engine(net, engine, {})
    fake.refits = False
    with pytest.raises(RunError, match=r"misses 1 weights: conv1\.weight"):
        refit_engine(net, engine, some_weights(net))
    assert engine.read_bytes() == b"engine"
    monkeypatch.setattr(refitting, "gpu_present", lambda: False)
    with pytest.raises(MissingError, match="takes weights on an NVIDIA GPU"):
        refit_engine(net, engine, some_weights(net))
    built(net, engine)
    with pytest.raises(UsageError, match="with its weights fixed: export it with --refit"):
        refit_engine(net, engine, some_weights(net))
    with pytest.raises(UsageError, match="there is no such file"):
        refit_engine(net, tmp_path / "nothing", {})
    facts = json.loads(Path(f"{engine}.json").read_text())
    wrong: list[tuple[dict[str, object], str]] = [
        ({"precision": {"asked": "int8"}}, "whose ranges belong to the weights"),
        ({"plan": {"layers": "fp16", "inputs": "fp32", "kept": "fp32"}}, "keeps some layers"),
        ({"plan": {"layers": "fp16", "inputs": "fp16"}}, "keeps some layers"),
    ]
    for change, said in wrong:
        new = {**facts, "settings": {"refit": True}, **change}
        Path(f"{engine}.json").write_text(json.dumps(new))
        with pytest.raises(UsageError, match=said):
            refit_engine(net, engine, some_weights(net))
    Path(f"{engine}.json").write_text("{}")
    with pytest.raises(UsageError, match="not an engine's sidecar"):
        refit_engine(net, engine, {})


# ------------------------------------------------------------------------------------------ report


def test_layers_of_an_engine_are_traced_through_fusion() -> None:
    layers = [
        {
            "Name": "__myl_ConvRelu",
            "LayerType": "CaskConvolution",
            "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu]",
            "Outputs": [{"Dimensions": [8, 16, 32, 32], "Format/Datatype": "Half"}],
            "TacticName": "sm80_xmma_fprop",
        },
        {"Name": "fc.product + fc", "Outputs": [{"Format/Datatype": "Float"}]},
        {"Name": "Reformatting CopyNode", "LayerType": "Reformat"},
        "layer1.0.conv1",
    ]
    places = {
        "conv1": "n.rnet:3",
        "relu": "n.rnet:3",
        "fc": "n.rnet:9",
        "layer1.0.conv1": "n.rnet:5",
    }
    rows = engine_rows(json.dumps({"Layers": layers}), places)
    assert rows[0] == LayerRow(
        "__myl_ConvRelu",
        "CaskConvolution",
        ("conv1", "relu"),
        ("n.rnet:3",),
        "fp16",
        (8, 16, 32, 32),
        "sm80_xmma_fprop",
    )
    assert (rows[1].nodes, rows[1].places, rows[1].precision) == (("fc",), ("n.rnet:9",), "fp32")
    assert (rows[2].nodes, rows[2].places) == ((), ())
    assert rows[3].nodes == ("layer1.0.conv1",)
    found = timed(rows, {"__myl_ConvRelu": [0.5, 0.2, 0.3], "unknown": [1.0]})
    assert [row.microseconds for row in found] == [pytest.approx(300.0), None, None, None]
    assert found[0].to_json()["spec"] == ["n.rnet:3"]


# ------------------------------------------------------------------------------------ command line


def test_the_flags_of_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path), "--weights", "random"]
    flags = ["--layers", "--progress", "--workspace", "64M", "--optimization-level", "1"]
    assert run(["export", "resnet20", "--to", "tensorrt", *flags, *out]) == 0
    printed = capsys.readouterr()
    assert "Building engine (" in printed.err
    listed = json.loads((tmp_path / "resnet20.engine.layers.json").read_text())
    assert listed["read_from"] == "network"
    assert listed["layers"][0]["spec"][0].startswith("specs/cifar_resnet.rnet:")
    facts = json.loads((tmp_path / "resnet20.engine.json").read_text())
    assert facts["settings"] == {"optimization_level": 1, "workspace": 1 << 26}


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--refit"], 2, "--refit would have no effect without --to tensorrt"),
        (["--layers", "--workspace", "1G"], 2, "--workspace, --layers would have no effect"),
        (["--to", "tensorrt", "--workspace", "much"], 2, "no size such as 512M or 2G"),
        (["--to", "tensorrt", "--optimization-level", "9"], 2, "0<=x<=5"),
        (["--to", "tensorrt", "--timing-cache", "c"], 2, "tensorrt_rtx has no timing cache"),
        (["--to", "tensorrt", "--strip-weights"], 4, "needs an NVIDIA GPU"),
    ],
)
def test_flags_that_cannot_be(
    tmp_path: Path, flags: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", "resnet20", "--weights", "random", "--out", str(tmp_path), *flags]
    assert run(arguments) == code
    assert said in capsys.readouterr().err


def test_the_verb_refit_needs_a_refittable_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "n.engine")
    (tmp_path / "w.safetensors").write_bytes(b"")
    assert run(["refit", "resnet20", missing, "--weights", str(tmp_path / "none.safetensors")]) == 2
    assert "there is no such file" in capsys.readouterr().err
