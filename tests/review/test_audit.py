from __future__ import annotations

import numpy as np
import pytest

from napari_ctc.data.history import Pick
from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.data.journal import Journal
from napari_ctc.review.audit import (
    DRAWS,
    ENOUGH,
    Bound,
    Round,
    bound,
    current_round,
    frozen_round,
    hits,
    most_in,
    share_sentence,
    shares,
)

KEYS = [f"{place}.npy" for place in range(1200)]
BLIND = Pick("random", "hidden", 1)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "labels.csv", who="someone") as journal:
        yield journal


# -------------------------------------------------------------------------------------------- the number


@pytest.mark.parametrize("population", [1, 5, 60, 500, 3000, 100_000])
def test_the_bound_is_that_of_scipy(population):
    from scipy.stats import hypergeom

    for looked in {1, population // 3, min(100, population), population} - {0}:
        for found in {0, 1, 3, looked} & set(range(looked + 1)):
            most = most_in(population, looked, found)
            assert hypergeom.cdf(found, population, most, looked) > 0.05 - 1e-8
            if most < population - (looked - found):
                assert hypergeom.cdf(found, population, most + 1, looked) <= 0.05 + 1e-8


def test_none_of_100_looked_at_means_at_most_3_percent():
    most = most_in(3000, 100, 0)
    assert Bound("tumour cell", 100, 0, 0, 2900, most).sentence == (
        f"tumour cell: 0 of 100 looked at: at most 3 % of the rest ({most} of 2,900), 95 %, one-sided"
    )


def test_a_percentage_is_never_rounded_below_the_bound():
    assert "at most 0.3 % of" in Bound("a", 900, 0, 0, 10_000, 21).sentence
    assert "at most 4 % of" in Bound("a", 100, 0, 0, 1000, 31).sentence


def test_looking_at_all_leaves_none():
    assert most_in(50, 50, 3) == 3


# --------------------------------------------------------------------------------------------- the round


def test_below_sixty_nothing_is_known(journal):
    frozen = current_round(journal.history, KEYS)
    for key in frozen.draws[: ENOUGH - 1]:
        journal.label([key], "debris", BLIND)
    assert bound(frozen, journal.history, KEYS, "tumour cell").sentence == (
        "tumour cell: 0 of 59 looked at; not yet known (60 are needed)"
    )
    journal.label([frozen.draws[ENOUGH - 1]], "debris", BLIND)
    assert bound(frozen, journal.history, KEYS, "tumour cell").most == most_in(1200, 60, 0)


def test_a_round_stays_as_it_was_frozen(journal):
    frozen = current_round(journal.history, KEYS)
    journal.label([frozen.draws[0]], "debris", BLIND)
    hunted = [key for key in KEYS if key not in frozen.draws][:50]
    journal.label(hunted, "tumour cell", Pick("rare", "visible"))
    again = frozen_round(journal.history, KEYS, 1)
    assert (again.draws, again.population) == (frozen.draws, 1200)


def test_what_was_judged_before_is_no_part_of_a_round(journal):
    journal.label(KEYS[:200], "debris")
    frozen = current_round(journal.history, KEYS)
    assert frozen.population == 1000
    assert not set(frozen.draws) & set(KEYS[:200])


def test_a_full_round_is_followed_by_another_that_is_not_pooled_with_it(journal):
    first = current_round(journal.history, KEYS)
    assert len(first.draws) == DRAWS
    journal.label(first.draws, "debris", BLIND)
    second = current_round(journal.history, KEYS)
    assert (second.number, second.population) == (2, 1100)
    assert not set(first.draws) & set(second.draws)
    journal.label(second.draws[:70], "debris", Pick("random", "hidden", 2))
    assert bound(second, journal.history, KEYS, "tumour cell").looked == 70


def test_found_by_hunting_is_taken_off(journal):
    frozen = current_round(journal.history, KEYS)
    journal.label(frozen.draws, "debris", BLIND)
    before = bound(frozen, journal.history, KEYS, "tumour cell")
    hunted = [key for key in KEYS if key not in frozen.draws][:10]
    journal.label(hunted, "tumour cell", Pick("rare", "visible"))
    after = bound(frozen, journal.history, KEYS, "tumour cell")
    assert (after.most, after.left) == (before.most - 10, before.left - 10)
    assert after.found == 0


@pytest.mark.parametrize("how", ["unsure", "put off", "seen"])
def test_an_unclear_draw_counts_as_if_it_were_of_the_class(journal, how):
    frozen = current_round(journal.history, KEYS)
    if how == "unsure":
        journal.unsure([frozen.draws[3]], BLIND)
    elif how == "seen":
        journal.label([frozen.draws[3]], "debris", Pick("random", "visible", 1))
    for key in frozen.draws[:80]:
        if key != frozen.draws[3]:
            journal.label([key], "debris", BLIND)
    found = bound(frozen, journal.history, KEYS, "tumour cell")
    assert (found.looked, found.unclear) == (79, 1)
    assert found.most == most_in(1200, 80, 1)
    assert "1 more unclear" in found.sentence


def test_a_slip_that_is_corrected_counts_as_found(journal):
    frozen = current_round(journal.history, KEYS)
    journal.label(frozen.draws[:60], "debris", BLIND)
    journal.label([frozen.draws[3]], "tumour cell", Pick("chosen", "visible"))
    found = bound(frozen, journal.history, KEYS, "tumour cell")
    assert (found.looked, found.found, found.unclear) == (60, 1, 0)
    assert found.most == most_in(1200, 60, 1) - 1
    journal.label([frozen.draws[3]], "debris", Pick("chosen", "visible"))
    assert bound(frozen, journal.history, KEYS, "tumour cell").most == most_in(1200, 60, 0)


def test_what_was_judged_blind_to_be_of_the_class_stays_found(journal):
    frozen = current_round(journal.history, KEYS)
    journal.label(frozen.draws[:60], "debris", BLIND)
    journal.label([frozen.draws[60]], "tumour cell", BLIND)
    journal.label([frozen.draws[60]], "debris", Pick("chosen", "visible"))
    found = bound(frozen, journal.history, KEYS, "tumour cell")
    assert (found.looked, found.found) == (61, 1)
    assert found.most == most_in(1200, 61, 1)  # nothing is known of the class that could be taken off


def test_a_small_population_has_no_round_to_keep_back(journal):
    few = current_round(journal.history, KEYS[:200])
    assert (few.number, few.kept_back, len(few.draws)) == (0, (), 200)


def test_the_draws_do_not_depend_on_the_order_of_the_specimens():
    one = Round.drawn(1, KEYS, frozenset())
    assert one.draws == Round.drawn(1, KEYS[::-1], frozenset()).draws
    assert one.draws != Round.drawn(2, KEYS, frozenset()).draws


def test_the_bound_holds_19_times_in_20_where_slips_are_corrected(tmp_path):
    """Half of the rare draws are called debris when judged blind, and all of these are corrected later."""
    random = np.random.default_rng(2)
    keys, held = KEYS[:600], 0
    for trial in range(100):
        rare = set(random.choice(keys, 30, replace=False))
        frozen = Round.drawn(1, keys, frozenset(), seed=str(trial))
        drawn = frozen.draws[:ENOUGH]
        slips = [key for key in drawn if key in rare and random.random() < 0.5]
        with Journal(tmp_path / f"{trial}.csv", who="someone") as journal:
            journal.label([key for key in drawn if key not in rare or key in slips], "debris", BLIND)
            journal.label([key for key in drawn if key in rare and key not in slips], "tumour cell", BLIND)
            journal.label(slips, "tumour cell", Pick("chosen", "visible"))
            most = bound(frozen, journal.history, keys, "tumour cell").most
        held += len(rare - set(drawn)) <= most
    assert held >= 95


def test_the_bound_holds_19_times_in_20_while_somebody_hunts():
    """The one-sided 95 % hold however many of the class the hunt finds beside the draws."""
    random = np.random.default_rng(1)
    held = 0
    for trial in range(400):
        count = int(random.integers(0, 60))
        rare = set(random.choice(KEYS, count, replace=False))
        frozen = Round.drawn(1, KEYS, frozenset(), seed=str(trial))
        looked = int(random.integers(ENOUGH, len(frozen.draws) + 1))
        found = sum(key in rare for key in frozen.draws[:looked])
        held += count <= most_in(1200, looked, found)
    assert held >= 0.95 * 400


# ------------------------------------------------------------------------------------- shares and yield


def test_shares_come_from_enough_random_labels_only(journal):
    frozen = current_round(journal.history, KEYS)
    journal.label([key for key in KEYS if key not in frozen.draws][:100], "tumour cell", Pick("rare", "visible"))
    journal.label(frozen.draws[:45], "debris", BLIND)
    assert shares(journal.history.random_labels()[1]) is None
    assert share_sentence(journal.history, 1) == "How many of the labels each class has is " + NOT_A_RATE + "."
    journal.label(frozen.draws[45:60], "tumour cell", BLIND)
    assert shares(journal.history.random_labels()[1]) == {"debris": 0.75, "tumour cell": 0.25}
    assert share_sentence(journal.history, 1) == (
        "Of 60 drawn at random and judged blind in round 1: debris 75 %, tumour cell 25 %."
    )


def test_the_yield_is_that_of_the_last_twenty(journal):
    journal.label(KEYS[:5], "tumour cell")
    for place, key in enumerate(KEYS[10:40]):
        journal.label([key], "tumour cell" if place >= 23 else "debris", Pick("rare", "visible"))
    said = hits(journal.history, "tumour cell")
    assert said == "tumour cell hits in the last 20: 7, from hunted labels: not a rate"
