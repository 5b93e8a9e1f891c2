from __future__ import annotations

from math import inf

from keepalive.core.eligibility import Eligibility
from keepalive.simulator.opinion import Opinion


def opinion(*heard: tuple[Eligibility | None, float]) -> Opinion:
    said = Opinion()
    for state, at in heard:
        said.hear(state, at)
    return said


def test_an_opinion_worse_than_the_truth_is_no_false_claim() -> None:
    said = opinion((Eligibility.ELIGIBLE, 10.0), (Eligibility.LAPSED, 54.0), (Eligibility.ELIGIBLE, 61.0))
    assert said.against([(-inf, 9.9), (55.0, 60.0)]) == []


def test_an_opinion_better_than_the_truth_is_a_false_claim_for_the_overlap() -> None:
    said = opinion((Eligibility.ELIGIBLE, 10.0), (Eligibility.AT_RISK, 40.0), (Eligibility.LAPSED, 57.0))
    assert said.against([(-inf, 11.0), (55.0, 60.0)]) == [(10.0, 11.0), (55.0, 57.0)]


def test_an_opinion_that_is_still_held_claims_until_the_end() -> None:
    assert opinion((Eligibility.ELIGIBLE, 10.0)).against([(55.0, 60.0)]) == [(55.0, 60.0)]


def test_a_group_that_is_gone_claims_nothing() -> None:
    assert opinion((Eligibility.ELIGIBLE, 10.0), (None, 50.0)).against([(55.0, 60.0)]) == []
