"""What a network says of itself by `expect` and `meta`: nothing else depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resnetc.diagnostics import Help, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.expectations import Expectation
from resnetc.lang.mistake import Abandon, Mistake, Poisoned
from resnetc.lang.site import Site
from resnetc.lang.values import show, type_name
from resnetc.lang.variants import Derived


class Facts:
    """Reads the facts of one network. `expectations` and `noted` fill as it goes, without those
    that are wrong; these are reported each for itself, and counted as `wrong`."""

    def __init__(
        self, derived: Derived, evaluate: Evaluator, report: Callable[[Mistake, Site], None]
    ) -> None:
        self._derived = derived
        self._evaluate = evaluate
        self._report = report
        self.expectations: list[Expectation] = []
        self.noted: dict[str, object] = {}
        self.wrong = 0

    def expect(self, statement: s.Expect, env: Env, site: Site) -> None:
        """Read the claims of an `expect`."""
        for claim in statement.claims:
            with self._alone(site):
                value = self._evaluate(claim.value, env)
                self.expectations.append(Expectation.of(claim, value, self._derived.name))

    def meta(self, statement: s.Meta, env: Env, site: Site) -> None:
        """Note what a `meta` says."""
        for setting in statement.settings:
            with self._alone(site):
                self._note(setting, self._evaluate(setting.value, env))

    @contextmanager
    def _alone(self, site: Site) -> Iterator[None]:
        """A fact that is wrong hides no other."""
        try:
            yield
        except Abandon:
            raise
        except Mistake as error:
            self.wrong += 1
            self._report(error, site)
        except Poisoned:
            pass

    def _note(self, setting: s.Setting, value: object) -> None:
        if not isinstance(value, str | int | float | list | tuple):
            message = f"meta holds plain values, not {type_name(value)}"
            raise Mistake("E0301", message, setting.value.span)
        if setting.name == "recipe":
            self._check_recipe(value, setting.value.span)
        self.noted[setting.name] = value

    def _check_recipe(self, name: object, span: Span) -> None:
        """`meta { recipe = "name" }` names the recipe a network is trained by."""
        decls = self._derived.home.file.decls
        recipes = [d.name for d in decls if isinstance(d, s.Recipe | s.RecipeVariant)]
        if name not in recipes:
            close = suggest(str(name), recipes)
            advice = Help(f'did you mean "{close}"?', span, f'"{close}"') if close else None
            raise Mistake("E0219", f"this file has no recipe {show(name)}", span, help=advice)
