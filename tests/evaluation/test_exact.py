# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction

import numpy as np
import pytest

from stages.evaluation.accumulate import Accumulator
from stages.evaluation.exact import ExactSum


def test_by_hand() -> None:
    total = ExactSum.zeros((2,))
    for terms in ([0.75, -0.5], [1.5, -2.25], [1e6, 0.125]):
        total.add(np.array(terms))
    assert total.value().tolist() == [1000002.25, -2.625]


def test_terms_that_doubles_would_lose() -> None:
    total = ExactSum.zeros((1,))
    for term in (1e14, 2.0**-40, -1e14):
        total.add(np.array([term]))
    assert total.value().tolist() == [2.0**-40]
    assert sum((1e14, 2.0**-40, -1e14)) == 0.0


def test_any_order_and_grouping_gives_the_same_bits_and_the_exact_sum() -> None:
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(500, 3)) * 10.0 ** rng.integers(-6, 6, (500, 3))
    reference = ExactSum.zeros((3,))
    for row in terms:
        reference.add(row)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(terms))
        merged = ExactSum.zeros((3,))
        for part in np.array_split(order, seed + 2):
            shard = ExactSum.zeros((3,))
            for row in terms[part]:
                shard.add(row)
            merged.merge(shard)
        assert np.array_equal(merged.whole, reference.whole)
        assert np.array_equal(merged.fraction, reference.fraction)
    # A term is rounded once, to 2^-60; 500 of them are off by less than 500 * 2^-61.
    for column in range(3):
        exact = sum((Fraction(value) for value in terms[:, column].tolist()), Fraction(0))
        assert abs(float(exact) - reference.value()[column]) <= 1e-15 + abs(float(exact)) * 2**-53


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**50])
def test_refuses_terms_that_are_not_finite_or_too_large(bad: float) -> None:
    with pytest.raises(ValueError, match="finite and below"):
        ExactSum.zeros((1,)).add(np.array([bad]))


def test_accumulator_survives_being_stored() -> None:
    totals = Accumulator()
    totals.add({"points": np.array([2, 3]), "error": np.array([0.1, 0.2])})
    totals.add({"points": np.array([1, 0]), "error": np.array([0.4, 0.0])})
    back = Accumulator.from_columns(totals.columns())
    assert back.totals()["points"].tolist() == [3, 3]
    assert np.array_equal(back.totals()["error"], totals.totals()["error"])
    back.merge(totals)
    assert back.totals()["points"].tolist() == [6, 6]
    assert back.totals()["error"].tolist() == [1.0, 0.4]
