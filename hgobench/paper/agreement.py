"""How near the published variant comes to what was published, or to what the authors' code gives.

Where their code, run with the stated settings, does not give the published value, the code's own is
what can be expected; those values come from runs of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .figures import Figure, load
from .runs import Series, final_pair

CODE = {
    ("fig5", "HgO, Cweak"): 0.8839,
    ("fig6b", "HgO, No Attack"): 0.8770,
    ("fig6b", "HgO, f = 10, FOE"): 0.8456,
    ("fig6b", "HgO, f = 10, LIE"): 0.8738,
    ("fig6c", "HgO, f = 0, C1"): 0.6765,
    ("fig6c", "HgO, f = 5, C1"): 0.4515,
    ("fig6c", "HgO, f = 10, C1"): 0.0089,
    ("fig6c", "HgO, f = 20, C1"): 0.0579,
    ("fig6c", "HgO, f = 30, C1"): 0.2177,
}
WITHIN = {"paper": 0.02, "code": 0.03}
EXACT = ("fig4a", "fig4b", "fig5", "fig8a", "fig12d")  # every HGO curve
ATTACKED = ("HgO, No Attack", "HgO, ar = average", "HgO, ar = median", "HgO, ar = aksel")
FIGURES = (*EXACT, "fig6a", "fig6b", "fig6c")


@dataclass(frozen=True)
class Agreement:
    """One expectation and what came of it.

    Attributes:
        figure, curve: where.
        source: whose value is expected: "paper", or "code".
        expected: it.
        mean, low, high, deviation: ours, over seeds, after as many updates.
        spread: whether two deviations of a seed are what is allowed; else a fixed distance is.
    """

    figure: str
    curve: str
    source: str
    expected: float
    mean: float
    low: float
    high: float
    deviation: float
    spread: bool

    @property
    def alike(self) -> bool:
        """Whether a seed of ours might have given it: within two of their deviations."""
        return abs(self.mean - self.expected) <= 2.0 * self.deviation

    @property
    def met(self) -> bool:
        """Whether it is."""
        if self.spread:
            return self.alike
        return abs(self.mean - self.expected) <= WITHIN[self.source]

    @property
    def text(self) -> str:
        """What came of it, in words."""
        if self.met:
            return "yes"
        return "no; within the seeds' spread" if self.alike else "no"


def expected(figure: Figure, label: str) -> tuple[str, bool] | None:
    """Return whose value a curve should meet, and whether among the seeds; None: nobody's."""
    if (figure.name, label) in CODE:
        return "code", False
    if figure.name in EXACT and label.startswith("HgO"):
        return "paper", False
    if figure.name in EXACT and label == "SGD, C1":
        return "paper", True
    if figure.name == "fig6a" and label in ATTACKED:
        return "paper", False
    return None


def agreements(measured: Callable[[str, str], Series], names: list[str]) -> list[Agreement]:
    """Compare all curves of some figures that there is an expectation of."""
    found = []
    for figure in (load(name) for name in names if name in FIGURES):
        for curve in figure.curves:
            if (wanted := expected(figure, curve.label)) is None:
                continue
            source, spread = wanted
            value, each = final_pair(figure, curve, "published", measured(figure.name, curve.label))
            if source == "code":
                value = CODE[figure.name, curve.label]
            mean, low, high = (float(x) for x in (each.mean(), each.min(), each.max()))
            deviation = float(each.std(ddof=1)) if len(each) > 1 else 0.0
            ours = mean, low, high, deviation
            found.append(Agreement(figure.name, curve.label, source, value, *ours, spread))
    return found
