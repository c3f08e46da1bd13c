"""What a person would have written: the network's own norm and activation, numbered sequences,
residuals with a shortcut policy, the prelude's blocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from resnetc.lift.tree import Body, Expr, Skeleton, Term, bodies, skeleton, walk
from resnetc.ops import PRIMITIVES
from resnetc.ops.activation import Activation

_ACTIVATIONS = frozenset(
    name for name, op in PRIMITIVES.items() if issubclass(op, Activation) and name != "softmax"
) - {"sigmoid", "tanh"}
"""What the ambient `act` may be; gates and outputs are written by name."""
_NORM = {"eps": 1e-5, "momentum": 0.1}


@dataclass(frozen=True)
class Ambients:
    """What `act`, `norm` and `conv` mean in a network; `norm` is None where there is none."""

    act: str = "relu"
    norm: tuple[tuple[str, float], ...] | None = tuple(_NORM.items())
    bias: bool = False


def use_ambients(tree: Body) -> Ambients:
    """Call the most frequent activation `act` and norm `norm`; convolutions become `conv`."""
    terms = list(walk(tree))
    acts = Counter(t.word for t in terms if t.word in _ACTIVATIONS and not t.args)
    norms = Counter(tuple(t.args.items()) for t in terms if t.word == "batchnorm")
    biases = Counter(bool(t.args["bias"]) for t in terms if t.word == "conv2d")
    found = Ambients(
        act=acts.most_common(1)[0][0] if acts else "relu",
        norm=norms.most_common(1)[0][0] if norms else None,
        bias=biases.most_common(1)[0][0] if biases else False,
    )
    for term in terms:
        if term.word == found.act:
            term.word = "act"
        elif term.word == "batchnorm" and tuple(term.args.items()) == found.norm:
            term.word, term.args = "norm", {}
        elif term.word == "conv2d":
            term.word = "conv"
            if term.args["bias"] == found.bias:
                term.args["bias"] = None
    return found


# --------------------------------------------------------------------------------- sequences


def number(tree: Body) -> None:
    """Modules become `seq`, without labels where those are the places, or `group`."""
    for term in walk(tree):
        if term.word == "module":
            term.word = "seq" if _is_numbered(term.bodies[0]) else "group"
            if term.word == "seq":
                for child in term.bodies[0]:
                    child.label = None


def _is_numbered(body: Body) -> bool:
    labels = [(i, term.label) for i, term in enumerate(body) if term.label is not None]
    tangled = any(term.reads or term.keeps for term in body)
    bare = any(t.label is not None for t in walk(_unlabelled(body)))
    return bool(labels) and not tangled and not bare and all(str(i) == at for i, at in labels)


def _unlabelled(body: Body) -> Body:
    """The structures in a body that have no label: what they hold hangs from the body."""
    return [term for term in body if term.label is None and term.bodies]


def use_prelude(tree: Body, ambients: Ambients) -> None:
    """Sequences of a convolution, norm and activation are the prelude's blocks."""
    for term in walk(tree):
        if term.word == "seq" and (args := _conv_norm_act(term, ambients)) is not None:
            term.word, term.args, term.bodies = "conv_norm_act", args, []
            term.is_call = True
            if args["groups"] == "here.channels" and args["pad"] is None:
                term.word = "depthwise"
                for name in ("out", "groups", "pad"):
                    del args[name]


def _conv_norm_act(seq: Term, ambients: Ambients) -> dict[str, object] | None:
    """The arguments of the block that a sequence is, None where it is none."""
    first, *rest = seq.bodies[0]
    if first.word != "conv" or first.args["bias"] is not None or any(t.args for t in rest):
        return None
    normed = ["norm"] if ambients.norm is not None else []
    words = [term.word for term in rest]
    if words != [*normed, "act"]:
        return None
    return {name: value for name, value in first.args.items() if name != "bias"}


# --------------------------------------------------------------------------------- residuals


def find_residuals(tree: Body) -> None:
    """Sums of a body and a shortcut, and the activation behind, become `residual`.

    The shortcut stays the second body until a policy is chosen.
    """
    for body in list(bodies(tree)):
        for i in range(len(body) - 1, -1, -1):
            if body[i].word == "add" and (found := _residual(body[i])):
                following = body[i + 1] if i + 1 < len(body) else None
                if following is not None and following.word == "act" and not following.reads:
                    del body[i + 1]
                else:
                    found.args["act"] = Expr("none")
                body[i] = found


def _residual(add: Term) -> Term | None:
    if len(add.bodies) != 2 or add.reads or add.label is not None:
        return None
    body, shortcut = sorted(add.bodies, key=_convolutions, reverse=True)
    if not _convolutions(body) or _convolutions(shortcut) > 1 or len(shortcut) > 3:
        return None
    return Term("residual", add.entry, add.exit, bodies=[body, shortcut])


def _convolutions(body: Body) -> int:
    return sum(term.word in ("conv", "conv_norm_act", "depthwise") for term in walk(body))


def use_when_same(tree: Body) -> None:
    """A module that is another's residual body, and changes the shape, is that residual too.

    MobileNet v2 adds the shortcut only where input and output are of one shape.
    """
    alone: dict[tuple[Skeleton, bool], list[Term]] = {}
    for term in walk(tree):
        if term.word == "residual" and not term.bodies[1] and not term.changes_shape:
            key = (skeleton(term.bodies[0]), "act" in term.args)
            alone.setdefault(key, []).append(term)
    for (inside, bare), residuals in alone.items():
        plain = [
            term
            for term in walk(tree)
            if term.word in ("group", "seq")
            and term.bodies[0][0].word != "residual"
            and skeleton(term.bodies[0]) == inside
        ]
        if not bare or not plain or not all(term.changes_shape for term in plain):
            continue
        for term in plain:
            wrapped = Term("residual", term.entry, term.exit, bodies=[term.bodies[0], []])
            wrapped.args["act"] = Expr("none")
            term.bodies = [[wrapped]]
            residuals.append(wrapped)
        for residual in residuals:
            residual.args["shortcut"] = Expr("when_same")
