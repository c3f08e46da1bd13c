"""What a network's name stands for: a template, arguments, and what `with` rebinds.

A variant overrides declared parameters and ambients, never structure, and derived values are
computed after all overrides are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from resnetc.diagnostics import Label, Span
from resnetc.lang import syntax as s
from resnetc.lang.bind import unknown_parameter
from resnetc.lang.budget import room
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.convert import checked
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Mistake
from resnetc.lang.modules import Definition, Module
from resnetc.lang.unknown_names import NETWORK, unknown_name
from resnetc.lang.values import Bound, NetworkValue, a_type

MAX_DERIVATIONS = 64
OPTION, KEYWORDS = "--set", "keyword arguments"
"""What messages call the places of settings that stand in no file."""


@dataclass
class Derived:
    """A network ready to elaborate. `span` is the call that binds the template, `declared` the
    network's whole declaration, `derivation` the part of it that says what the network is.
    `rebound` says that the caller bound parameters from outside, so that the file's own
    expectations do not apply. `via` is the derivation as it is written. `outputs` are what the
    nearest variant gives that says so, each with the file it stands in."""

    name: str
    template: Definition
    home: Module
    span: Span
    declared: Span
    derivation: Span
    bound: tuple[Bound, ...] = ()
    ambients: dict[str, object] = field(default_factory=dict)
    ambient_spans: dict[str, Span] = field(default_factory=dict)
    facts: tuple[s.Stmt, ...] = ()
    outputs: tuple[tuple[s.OutputStmt, Module], ...] = ()
    rebound: bool = False
    via: str = ""

    @property
    def params(self) -> tuple[s.Param, ...]:
        """The parameters that can be bound."""
        decl = self.template.decl
        assert isinstance(decl, s.Network)
        return decl.params

    def override(self, name: str, value: object, name_span: Span, span: Span) -> None:
        """Bind a parameter, or else an ambient, of this network. Raises Mistake for neither."""
        decl = self.template.decl
        assert isinstance(decl, s.Network)
        definition = self.home.names.get(name)
        is_ambient = definition is not None and isinstance(definition.decl, s.Ambient)
        if any(param.name == name for param in self.params):
            self.bound = (*self.bound, Bound(name, value, span, name_span.to(span)))
            if is_ambient:
                self.ambient_spans[name] = name_span.to(span)
        elif definition is not None and isinstance(definition.decl, s.Ambient):
            self.ambients[name] = checked(value, definition.decl.type, span)
            self.ambient_spans[name] = name_span.to(span)
        else:
            problem = unknown_parameter(decl, name, name_span)
            note = "ambients such as `norm` or `shortcut` may be named here too"
            raise Mistake.of(problem, notes=(note,))


@room()
def derive(definition: Definition, evaluate: Evaluator, depth: int = 0) -> Derived:
    """Follow a network's derivation to its template. Raises Mistake."""
    decl, home = definition.decl, definition.home
    if isinstance(decl, s.Network):
        return Derived(decl.name, definition, home, decl.name_span, decl.span, decl.name_span)
    assert isinstance(decl, s.Variant)
    if depth > MAX_DERIVATIONS:
        raise Mistake("E0408", f"network `{decl.name}` is derived from itself", decl.name_span)
    env = Env(home)
    _known(decl.derivation.base, home)
    base = evaluate(decl.derivation.base, env)
    if not isinstance(base, NetworkValue):
        message = f"a network is derived from a network, not from {a_type(base)}"
        raise Mistake("E0215", message, decl.derivation.base.span)
    derived = derive(Definition(base.home, base.declaration), evaluate, depth + 1)
    outputs = tuple((fact, home) for fact in decl.facts if isinstance(fact, s.OutputStmt))
    derived.outputs = outputs or derived.outputs
    derived.facts = tuple(fact for fact in decl.facts if not isinstance(fact, s.OutputStmt))
    derived.name, derived.home = decl.name, home
    derived.span, derived.declared = decl.derivation.base.span, decl.span
    derived.derivation = decl.derivation.span
    derived.via = " ".join(decl.derivation.span.text.split())
    derived.bound += base.bound
    for setting in decl.derivation.settings:
        value = evaluate(setting.value, env)
        derived.override(setting.name, value, setting.name_span, setting.value.span)
    return derived


def _known(base: s.Expr, home: Module) -> None:
    """Refuse to derive from what has no meaning; only a network could be meant."""
    root = base.callee if isinstance(base, s.Apply) else base
    if isinstance(root, s.Name) and not any(
        root.name in names for names in (home.names, home.broken, FUNCTIONS)
    ):
        raise unknown_name(root.name, root.span, home, NETWORK)


def needs(derived: Derived) -> list[str]:
    """Parameters that nothing has bound and that have no default: a template has some."""
    named = {argument.name for argument in derived.bound}
    positional = sum(argument.name is None for argument in derived.bound)
    free = [param for param in derived.params if param.name not in named]
    return [param.name for param in free[positional:] if param.default is None]


def require_bound(derived: Derived) -> None:
    """Raise Mistake when the network is a template with parameters still open."""
    missing = needs(derived)
    if missing:
        advice = f"bind it: --set {missing[0]}=..., or derive a network from the template"
        raise left_open(derived, missing, advice)


def left_open(derived: Derived, missing: list[str], advice: str) -> Mistake:
    """The mistake of a network whose parameters of these names have no value."""
    message = f"`{derived.name}` needs {' and '.join(f'`{name}`' for name in missing)}"
    open_ = (param for param in derived.params if param.name in missing)
    declared = tuple(Label(param.span, "it has no default") for param in open_)
    return Mistake("E0204", message, derived.span, secondary=declared, help=advice)


def unfinished(derived: Derived, missing: list[str]) -> Mistake:
    """The mistake of a derivation that leaves parameters open though nothing is derived from it."""
    more = ", ".join(f"{name}=..." for name in missing)
    call = " ".join(derived.span.text.split())
    bound = f"{call[:-1]}, {more})" if call.endswith(")") else f"{call}({more})"
    return left_open(derived, missing, f"bind it: `{bound}`")
