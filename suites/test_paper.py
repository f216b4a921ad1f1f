"""The paper's claims, tested on data: ``pytest suites/test_paper.py --suite smoke``.

``smoke`` runs the cheap claims with one seed, ``standard`` all of them with three (half an hour on
two cores). So few seeds form no verdict. What they can do is contradict the committed ones: each
comparison behind a verdict, and each curve with a published value, has to lie where a seed is
expected after those that `hgobench reproduce all --seeds 10 --update-reference` ran, but for one
in a thousand.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from hgobench.paper import agreement, claims, runs
from hgobench.paper.figures import Figure, load, names
from hgobench.plugin import DEFAULT, reason
from hgobench.results import open_store
from hgobench.session import Session

SEEDS = {"smoke": 1, "standard": 3}
FIGURES = {"smoke": ["fig4b", "fig6a"], "standard": [name for name in names() if name != "fig15b"]}


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> str:
    chosen = str(request.config.getoption("--suite") or DEFAULT)
    if chosen not in SEEDS:
        pytest.skip("the paper's claims are tested with --suite smoke or --suite standard")
    return chosen


@pytest.fixture(scope="session")
def figures(suite: str) -> list[Figure]:
    wanted = [c for c in claims.CLAIMS if suite == "standard" or c.id in claims.CHEAP]
    named = dict.fromkeys([*(name for claim in wanted for name in claim.figures), *FIGURES[suite]])
    found = [load(name) for name in named]
    with warnings.catch_warnings():  # whatever a client that downloads data warns of
        warnings.simplefilter("ignore")
        try:
            lacking = "; ".join(runs.lacking(found))
        except Exception as error:
            lacking = reason(error)
    if lacking:
        pytest.skip(lacking)
    return found


@pytest.fixture(scope="session")
def measured(
    suite: str, figures: list[Figure], tmp_path_factory: pytest.TempPathFactory
) -> runs.Measurements:
    with open_store(tmp_path_factory.mktemp("paper")) as store:
        outcome = runs.compute(figures, SEEDS[suite], Session(store, jobs=2))
        return runs.Measurements((r for _, r in store.results(outcome.keys)), SEEDS[suite])


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    return dict(json.loads(claims.reference_path().read_text(encoding="utf-8")))


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_claim(
    claim: claims.Claim, suite: str, measured: runs.Measurements, reference: dict[str, Any]
) -> None:
    if suite == "smoke" and claim.id not in claims.CHEAP:
        pytest.skip("not among the cheap claims; --suite standard")
    (verdict,) = claims.judge([claim], measured.of)
    known = reference["claims"][claim.id]
    for variant, evidence in verdict.evidence.items():
        assert not claims.surprises(evidence.means, known[variant], reference["seeds"]), variant


def test_the_published_variant_lands_where_it_did(
    suite: str, figures: list[Figure], measured: runs.Measurements, reference: dict[str, Any]
) -> None:
    here = [figure for figure in figures if figure.name in FIGURES[suite]]
    found = agreement.agreements(measured.of("published"), here)
    assert found
    for figure in here:
        means = {a.curve: a.ours for a in found if a.figure == figure.name}
        if means:
            known = reference["curves"][figure.name]
            assert not claims.surprises(means, known, reference["seeds"]), figure.name
