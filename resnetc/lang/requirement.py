"""`require` that does not hold: who set the values, what they make, which would do."""

from __future__ import annotations

from resnetc.diagnostics import Help, Label
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Abandon, Mistake
from resnetc.lang.values import show

_REACH = 64
"""How far from a wrong argument the nearest right ones are looked for."""


def unmet(statement: s.Require, env: Env, evaluate: Evaluator) -> Abandon:
    """The mistake of a requirement that does not hold in `env`.

    It is blamed on the argument that it depends on, where there is one.
    """
    test = statement.test
    reason = str(evaluate(statement.reason, env))
    names = [name for name in names_in(test) if env.find(name)[0]]
    facts = {name: f"{name} = {show(env.find(name)[1])}" for name in names}
    given = [name for name in names if name in env.given]
    why = Label(test.span, _worked_out(test, env, evaluate))
    if not given:
        return Abandon("E0407", reason, why.span, why.text, notes=tuple(facts.values()))
    blamed = given[0]
    notes = tuple(fact for name, fact in facts.items() if name != blamed)
    span = env.given[blamed]
    near = _nearest(test, blamed, env, evaluate) if set(names) == {blamed} else []
    advice = None
    if near:
        text = f"{' and '.join(near)} {'are' if len(near) > 1 else 'is'} the nearest that would do"
        advice = Help(text, span, near[-1], sure=False)
    return Abandon("E0407", reason, span, facts[blamed], secondary=(why,), notes=notes, help=advice)


def _worked_out(test: s.Expr, env: Env, evaluate: Evaluator) -> str:
    """What the left side of a comparison comes to: `(54 - 2) mod 6` is 4."""
    if not isinstance(test, s.Binary) or isinstance(test.left, s.Name | s.Literal):
        return "this does not hold"
    if test.operator not in ("==", "!=", "<", "<=", ">", ">="):
        return "this does not hold"
    return f"{test.left.span.text} is {show(evaluate(test.left, env))}"


def _nearest(test: s.Expr, name: str, env: Env, evaluate: Evaluator) -> list[str]:
    """The nearest ints, below and above, for which the requirement holds."""
    value = env.find(name)[1]
    if not isinstance(value, int) or isinstance(value, bool):
        return []
    trial = env.child()
    found = []
    for sign in (-1, 1):
        for distance in range(1, _REACH + 1):
            trial.names[name] = value + sign * distance
            try:
                holds = evaluate(test, trial)
            except Mistake:
                break
            if holds is True:
                found.append(show(trial.names[name]))
                break
    return found


def names_in(expr: s.Expr) -> list[str]:
    """Names an expression mentions, each once, in order."""
    found: list[str] = []
    stack: list[object] = [expr]
    while stack:
        item = stack.pop()
        if isinstance(item, s.Name) and item.name not in found:
            found.append(item.name)
        if isinstance(item, tuple):
            stack.extend(reversed(item))
        elif isinstance(item, s.Expr | s.Arg):
            fields = [getattr(item, name) for name in item.__slots__ if name != "span"]
            stack.extend(reversed(fields))
    return found
