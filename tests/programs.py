"""Random networks as text, beside what they mean by an oracle of its own.

The writer draws statements and follows shapes and parameter paths as the reference manual states
the rules, by counting positions of windows one by one and names by hand; it shares no code with
the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

Shape = tuple[int, ...]
NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass
class Program:
    """A file with one network `n`, its parameters' shapes in order, and its output's shape."""

    text: str
    parameters: dict[str, Shape]
    output: Shape


@dataclass
class _Place:
    """Where layers are written: the path, and the next index inside a `seq`."""

    path: str
    next: int | None = None

    def component(self, label: str | None) -> str | None:
        """The component of a layer's path: its label, or its index in a `seq`."""
        if label is None and self.next is not None:
            label, self.next = str(self.next), self.next + 1
        return label

    def inside(self, component: str | None) -> str:
        return ".".join(part for part in (self.path, component) if part)


def positions(size: int, kernel: int, stride: int, pad: int) -> int:
    """Windows that fit, counted."""
    start, count = -pad, 0
    while start + kernel <= size + pad:
        start, count = start + stride, count + 1
    return count


@dataclass
class _Writer:
    draw: st.DrawFn
    shape: Shape
    lines: list[str] = field(default_factory=list)
    parameters: dict[str, Shape] = field(default_factory=dict)
    labels: int = 0
    indent: str = "  "

    # ---- writing

    def write(self, text: str) -> None:
        self.lines.append(self.indent + text)

    def label(self, place: _Place, needed: bool) -> str | None:
        """A fresh label, or none where the place gives a name or none is needed."""
        if place.next is not None and self.draw(st.booleans()):
            return None
        if not needed and self.draw(st.booleans()):
            return None
        self.labels += 1
        return f"x{self.labels}"

    def checked(self) -> str:
        """`=> CxHxW`, or some of its last extents, or nothing."""
        kept = self.draw(st.integers(0, len(self.shape)))
        if kept == 0 or len(self.shape) == 1:
            return ""
        extents = "x".join(map(str, self.shape[-kept:]))
        return f" => [{extents}]" if kept == 1 else f" => {extents}"

    def own(self, path: str, name: str, shape: Shape) -> None:
        full = f"{path}.{name}" if path else name
        assert full not in self.parameters
        self.parameters[full] = shape

    def own_norm(self, path: str, channels: int) -> None:
        for name in NORM:
            self.own(path, name, (channels,))
        self.own(path, "num_batches_tracked", ())

    # ---- layers: each writes one row, or returns its text for a row

    def conv(self, place: _Place, out: int | None = None, stride: int | None = None) -> str:
        channels, height, width = self.shape
        kernel = self.draw(st.sampled_from([k for k in (1, 3, 5) if k <= min(height, width) + 2]))
        out = out or self.draw(st.sampled_from([channels, 2, 4, 6]))
        stride = stride or self.draw(st.sampled_from([1, 1, 2]))
        groups = self.draw(st.sampled_from([g for g in (1, 2) if not channels % g + out % g]))
        bias = self.draw(st.booleans())
        label = self.label(place, needed=True)
        path = place.inside(place.component(label))
        self.own(path, "weight", (out, channels // groups, kernel, kernel))
        if bias:
            self.own(path, "bias", (out,))
        pad = (kernel - 1) // 2
        extents = [positions(size, kernel, stride, pad) for size in (height, width)]
        self.shape = (out, *extents)
        options = [f", stride={stride}"] if stride > 1 else []
        options += [f", groups={groups}"] if groups > 1 else []
        options += [", bias=true"] if bias else []
        return f"{_prefix(label)}conv({kernel}x{kernel}, {out}{''.join(options)})"

    def norm(self, place: _Place) -> str:
        label = self.label(place, needed=True)
        self.own_norm(place.inside(place.component(label)), self.shape[0])
        return f"{_prefix(label)}norm"

    def plain(self, place: _Place) -> str:
        name = self.draw(st.sampled_from(["act", "relu", "sigmoid", "dropout(20%)", "pool"]))
        label = self.label(place, needed=False)
        place.component(label)
        if name == "pool":
            stride = self.draw(st.sampled_from([1, 2]))
            channels, *extents = self.shape
            self.shape = (channels, *(positions(size, 3, stride, 1) for size in extents))
            name = f"maxpool(3x3, stride={stride})"
        return f"{_prefix(label)}{name}"

    def row(self, place: _Place) -> None:
        kinds = [self.conv, self.norm, self.plain]
        steps = [self.draw(st.sampled_from(kinds))(place) for _ in range(self.draw(_FEW))]
        self.write(" -> ".join(steps) + self.checked())

    # ---- structures

    def body(self, opening: str, write: Callable[[], None], closing: str = "}") -> None:
        self.write(opening)
        self.indent += "  "
        write()
        self.indent = self.indent[2:]
        self.write(closing)

    def container(self, place: _Place, depth: int) -> None:
        kind = self.draw(st.sampled_from(["seq", "group"]))
        label = self.label(place, needed=kind == "seq")
        inner = _Place(place.inside(place.component(label)), 0 if kind == "seq" else None)
        self.body(f"{_prefix(label)}{kind} {{", lambda: self.statements(inner, depth - 1))

    def repeat(self, place: _Place, depth: int) -> None:
        """A labelled repeat of a `seq`, whose copies are numbered."""
        count = self.draw(st.integers(1, 3))
        label = self.label(place, needed=True)
        outer = _Place(place.inside(place.component(label) if label else None), 0)
        if label is None:
            outer = place
        width = self.shape[0]
        for _ in range(count):
            copy = outer.inside(outer.component(None))
            self.own(f"{copy}.0", "weight", (width, width, 3, 3))
            self.own_norm(f"{copy}.1", width)
        self.write(f"{_prefix(label)}seq {{ conv(3x3) -> norm -> act }} * {count}")

    def residual(self, place: _Place, depth: int) -> None:
        policy = self.draw(st.sampled_from(["B", "C", "plain", "A"]))
        before = self.shape
        label = self.label(place, needed=True)
        inner = _Place(place.inside(place.component(label)))

        def write() -> None:
            wider = before[0] * self.draw(st.sampled_from([1, 2]))
            self.write(self.conv(inner, wider) + " -> " + self.norm(inner))

        self.body(f"{_prefix(label)}residual(shortcut={policy}) {{", write)
        self.shortcut(policy, before, inner.path)

    def shortcut(self, policy: str, before: Shape, path: str) -> None:
        changed = before != self.shape
        if policy == "C" or (policy == "B" and changed):
            shape = (self.shape[0], before[0], 1, 1)
            self.own(f"{path}.downsample.0" if path else "downsample.0", "weight", shape)
            self.own_norm(f"{path}.downsample.1" if path else "downsample.1", self.shape[0])

    def concat(self, place: _Place, depth: int) -> None:
        before = self.shape
        label = self.label(place, needed=True)
        inner = _Place(place.inside(place.component(label)))
        ends: list[Shape] = []

        def write() -> None:
            for _ in range(2):
                self.shape = before
                self.write("| " + self.conv(inner, stride=1) + " -> act")
                ends.append(self.shape)

        self.body(f"{_prefix(label)}concat {{", write)
        self.shape = (sum(end[0] for end in ends), *before[1:])

    def choice(self, place: _Place, depth: int) -> None:
        """`if` with a test that is known: only the branch that is taken counts."""
        test, taken = self.draw(st.sampled_from([("1 < 2", True), ("m == 3", False)]))
        other = "conv(9x9, 1_000)"
        if taken:
            self.body(f"if {test} {{", lambda: self.row(place), f"}} else {{ {other} }}")
        else:
            self.body(f"if {test} {{ {other} }} else {{", lambda: self.row(place))

    def loop(self, place: _Place, depth: int) -> None:
        values = self.draw(st.lists(st.sampled_from([2, 4]), max_size=3))
        self.labels += 1
        for i, out in enumerate(values):
            path = place.inside(f"y{self.labels}_{i}")
            self.own(path, "weight", (out, self.shape[0], 1, 1))
            self.shape = (out, *self.shape[1:])
        self.write(f'for i, w in enumerate({values}) {{ "y{self.labels}_{{i}}": conv(1x1, w) }}')

    def block(self, place: _Place, depth: int) -> None:
        width = self.draw(st.sampled_from([2, 4]))
        before = self.shape
        label = self.label(place, needed=True)
        path = place.inside(place.component(label))
        self.own(f"{path}.conv1", "weight", (width, before[0], 3, 3))
        self.own_norm(f"{path}.bn1", width)
        self.shape = (width, *before[1:])
        self.shortcut("B", before, path)
        self.write(f"{_prefix(label)}unit({width})")

    def rows(self, place: _Place, depth: int) -> None:
        """A table, whose rows are layers."""
        rows = self.draw(st.lists(st.tuples(st.sampled_from([1, 3]), _WIDTHS), min_size=1))
        self.labels += 1
        for i, (kernel, out) in enumerate(rows):
            path = place.inside(f"t{self.labels}_{i}")
            self.own(path, "weight", (out, self.shape[0], kernel, kernel))
            self.shape = (out, *self.shape[1:])
        cells = "; ".join(f"{kernel}, {out}" for kernel, out in rows)
        layer = f'"t{self.labels}_{{i}}": conv(r.kernel, r.out)'
        self.write(f"for i, r in enumerate(table (kernel, out) [{cells}]) {{ {layer} }}")

    def parts(self, place: _Place, depth: int) -> None:
        """Equal parts of the channels; a layer on one of them, and all of them joined again."""
        channels, *extents = self.shape
        count = self.draw(st.sampled_from([n for n in (1, 2, 4) if channels % n == 0]))
        self.labels += 1
        names = [f"p{self.labels}_{i}" for i in range(count)]
        self.write(f"split({count}) as {', '.join(names)}")
        out = self.draw(_WIDTHS)
        self.own(place.inside(f"c{self.labels}"), "weight", (out, channels // count, 1, 1))
        rest = f"from {', '.join(names[1:])}" if count > 1 else f"from {names[0]}"
        layer = f"c{self.labels}: conv(1x1, {out})"
        kind = self.draw(st.sampled_from(["concat {", "tuple {"]))
        self.write(f"{kind} | {rest} | from {names[0]} -> {layer} }}")
        if kind == "tuple {":
            self.write("concat")
        self.shape = (max(1, count - 1) * (channels // count) + out, *extents)

    def signed(self, place: _Place, depth: int) -> None:
        """A block that is given a block."""
        width = self.draw(_WIDTHS)
        before = self.shape
        label = self.label(place, needed=True)
        path = f"{place.inside(place.component(label))}.inner"
        self.own(f"{path}.conv1", "weight", (width, before[0], 3, 3))
        self.own_norm(f"{path}.bn1", width)
        self.shape = (width, *before[1:])
        self.shortcut("B", before, path)
        self.write(f"{_prefix(label)}outer(unit, {width})")

    # ---- statements

    def statements(self, place: _Place, depth: int) -> None:
        structures = [self.residual, self.container, self.repeat, self.concat, self.choice]
        structures += [self.loop, self.block, self.container, self.rows, self.signed]
        structures += [self.parts] if place.next is None else []
        for _ in range(self.draw(_SOME if depth else _FEW)):
            chosen = self.draw(st.integers(0, len(structures) if depth else 0))
            if chosen:
                structures[chosen - 1](place, depth)
            else:
                self.row(place)


_FEW = st.integers(1, 3)
_SOME = st.integers(2, 5)
_WIDTHS = st.sampled_from([2, 4])
_UNIT = """\
block unit(width: int) {
  residual { conv1: conv(3x3, width) -> bn1: norm }
}

block outer(of: block(width: int), width: int) { inner: of(width) }
"""
_SECTIONS = """
recipe r { data = digits  schedule = [step(at=[10, 20])] }
experiment e { network = n  recipe = r }
experiment e2 = e with seed = 3
deploy d { network = n  batch = 1..4  precision { layers = "fp16"  keep = ["fc"] } }
deploy d2 = d with precision.layers = "bf16", precision.keep = []
"""


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A file with a small network of most of the language's structures."""
    shape = (draw(st.sampled_from([2, 4])), draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    writer = _Writer(draw, shape)
    writer.statements(_Place(""), 2)
    channels = writer.shape[0]
    writer.write("gap -> flatten -> fc: linear(classes) => [classes]")
    writer.own("fc", "weight", (5, channels))
    writer.own("fc", "bias", (5,))
    body = "\n".join(writer.lines)
    head = f"network n(classes: int = 5, m: int = 2) {{\n  input {'x'.join(map(str, shape))}\n"
    text = f"rnet 1\n\n{_UNIT}\n{head}{body}\n}}\n{_SECTIONS}"
    return Program(text, writer.parameters, (5,))


def _prefix(label: str | None) -> str:
    return f"{label}: " if label else ""
