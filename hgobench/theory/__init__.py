"""The HGO paper's theory, computed: constants of a problem, robustness of a rule, the bounds.

The paper: Boubouh, Boussetta, Gupta, Maurer, Pinot, "Democratizing Machine Learning: Resilient
Distributed Learning with Heterogeneous Participants", SRDS 2022, pp. 94-120.

>>> from hgobench import Scenario, theory
>>> problem = theory.Objective(Scenario(model="linear[ridge=1.0]", workers=20, byzantine=2))
>>> len(problem.curvature.smoothness)  # L_j
65
>>> theory.trimmed_mean_coefficient(correct=12, f=3)  # Δ as published
4.444444444444445
"""

from .bounds import lemma_1, theorem_1, theorem_2
from .counterexample import FastFew
from .curvature import Curvature, curvature
from .dissimilarity import Dissimilarity, breakdown_limit, dissimilarity, spread
from .kappa import WorstAverage, contradicts, proven_kappa, record, recorded_kappa, search_kappa
from .objective import Moments, Objective, minibatch_factor
from .robustness import (
    Worst,
    median_coefficient,
    search,
    sharp_trimmed_mean_coefficient,
    trimmed_mean_coefficient,
)

__all__ = [
    "Curvature",
    "Dissimilarity",
    "FastFew",
    "Moments",
    "Objective",
    "Worst",
    "WorstAverage",
    "breakdown_limit",
    "contradicts",
    "curvature",
    "dissimilarity",
    "lemma_1",
    "median_coefficient",
    "minibatch_factor",
    "proven_kappa",
    "record",
    "recorded_kappa",
    "search",
    "search_kappa",
    "sharp_trimmed_mean_coefficient",
    "spread",
    "theorem_1",
    "theorem_2",
    "trimmed_mean_coefficient",
]
