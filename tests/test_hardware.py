from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hgobench import hardware

PROFILES = list(hardware.registry.builtins)


def rates(profile: str, workers: int = 100, dimension: int = 7850, seed: int = 0) -> np.ndarray:
    return hardware.registry.build(profile).rates(workers, dimension, seed)


@pytest.mark.parametrize("profile", PROFILES)
def test_rates_are_positive_and_repeat(profile: str) -> None:
    assert (rates(profile, 5000) > 0).all()
    assert np.array_equal(rates(profile), rates(profile))
    assert not np.array_equal(rates(profile), rates(profile, seed=1))


def test_weak_rates_follow_the_truncated_normal() -> None:
    """500 ± 250, truncated at 0: a Kolmogorov-Smirnov test with a fixed seed."""
    law = stats.truncnorm(-2, np.inf, loc=500, scale=250)
    assert stats.kstest(rates("weak", 20_000), law.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("profile", "shares"),
    [
        ("standard", (30, 40, 30)),
        ("weak", (100, 0, 0)),
        ("min", (90, 0, 10)),
        ("c1", (90, 10, 0)),
        ("c2", (70, 30, 0)),
        ("c3", (50, 50, 0)),
        ("powerful", (0, 0, 100)),
        ("mix[weak=0.2,average=0.2,powerful=0.6]", (20, 20, 60)),
    ],
)
def test_presets_have_their_categories(profile: str, shares: tuple[int, ...]) -> None:
    found = rates(profile)
    weak, powerful = int((found < 2000).sum()), int((found > 17_500).sum())
    assert (weak, 100 - weak - powerful, powerful) == shares


def test_capable_workers_of_one_profile_are_capable_in_a_stronger_one() -> None:
    capable = [set(np.flatnonzero(rates(profile) > 2000)) for profile in ("c1", "c2", "c3")]
    assert capable[0] < capable[1] < capable[2]


def test_rates_scale_with_the_model() -> None:
    np.testing.assert_allclose(rates("standard", dimension=650) / 650, rates("standard") / 7850)


def test_a_category_s_parameters_can_be_set() -> None:
    assert set(rates("weak[weak_mean=100,weak_std=0]")) == {100.0}
