from __future__ import annotations

import numpy as np
import pytest

from napari_ctc.review.audit import Round
from napari_ctc.review.queue import DEFAULT, ONE_IN, ORDERS, State, next_up
from napari_ctc.review.space import Space

N = 400
KEYS = [f"{place}.npy" for place in range(N)]


def a_state(labelled=(), unsure=(), probabilities=True, rare=1):
    random = np.random.default_rng(0)
    space = Space.of(random.normal(size=(N, 8)).astype(np.float32))
    truth = np.full(N, -1)
    for row, place in labelled:
        truth[row] = place
    looked = np.zeros(N, bool)
    looked[list(unsure)] = True
    share = random.random(N).astype(np.float32)
    return State(space, truth, looked, np.stack([1 - share, share], 1) if probabilities else None, rare)


def a_round(state, number=1):
    return Round.drawn(number, KEYS, frozenset(np.array(KEYS)[~state.open]))


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "random"])
def test_one_in_five_is_drawn_at_random_with_predictions_hidden(order):
    state = a_state([(0, 0), (1, 1)])
    found = next_up(state, KEYS, a_round(state), order, count=100)
    random = [one for one in found if one.pick.how == "random"]
    assert len(random) == 100 // ONE_IN
    assert all(one.pick.fair and one.pick.round == 1 for one in random)
    assert all(one.pick.prediction == "visible" for one in found if one.pick.how != "random")


def test_random_draws_alone_come_in_the_order_random():
    state = a_state()
    round_ = a_round(state)
    found = next_up(state, KEYS, round_, "random", count=30)
    assert [KEYS[one.row] for one in found] == list(round_.draws[:30])


@pytest.mark.parametrize("order", ORDERS)
def test_what_was_labelled_or_unsure_is_not_asked_again(order):
    state = a_state([(row, row % 2) for row in range(100)], unsure=range(100, 200))
    found = next_up(state, KEYS, a_round(state), order, count=N)
    assert sorted(one.row for one in found) == list(range(200, N))


def test_no_order_shows_a_draw_of_the_round_before_its_turn():
    state = a_state([(0, 0), (1, 1)])
    round_ = a_round(state)
    for order in set(ORDERS) - {"random"}:
        shown = next_up(state, KEYS, round_, order, count=200)
        hunted = {KEYS[one.row] for one in shown if one.pick.how != "random"}
        assert not hunted & set(round_.draws)


def test_orders_bring_what_they_promise_first():
    state = a_state([(0, 0), (1, 1)])
    round_ = a_round(state)
    free = np.isin(KEYS, round_.kept_back, invert=True) & state.open
    share = state.probabilities[:, 1]
    first = {order: next_up(state, KEYS, round_, order)[0].row for order in ORDERS}
    assert first["rare"] == np.argmax(np.where(free, share, -1))
    assert first["uncertain"] == np.argmin(np.where(free, abs(share - 0.5), 1))
    distance = ((state.space.sketch[:, None] - state.space.sketch[[0, 1]]) ** 2).sum(2).min(1)
    assert first["unlike"] == np.argmax(np.where(free, distance, -1))


def test_before_there_is_a_prediction_the_orders_spread_out():
    state = a_state(probabilities=False)
    for order in set(ORDERS) - {"random"}:
        found = next_up(state, KEYS, a_round(state), order, count=4)
        assert {one.pick.how for one in found} == {"unlike"}
        assert {one.pick.prediction for one in found} == {"none"}


def test_a_rare_class_without_a_label_is_looked_for_among_what_is_unlike():
    state = a_state([(0, 0), (1, 0)])
    assert next_up(state, KEYS, a_round(state), "rare")[0].pick.how == "unlike"


def test_what_was_skipped_comes_last():
    state = a_state([(0, 0), (1, 1)])
    round_ = a_round(state)
    first = next_up(state, KEYS, round_, count=10)
    skipped = [KEYS[one.row] for one in first]
    again = next_up(state, KEYS, round_, count=N, skipped=skipped)
    assert not {one.row for one in first} & {one.row for one in again[:200]}
    assert {one.row for one in first} <= {one.row for one in again}


def test_the_same_state_gives_the_same_queue():
    state = a_state([(0, 0), (1, 1)])
    assert next_up(state, KEYS, a_round(state), count=50) == next_up(state, KEYS, a_round(state), count=50)


def test_the_queue_goes_on_where_it_was():
    state = a_state([(0, 0), (1, 1)])
    ten = next_up(state, KEYS, a_round(state), "unlike", count=10, turn=0)
    assert [one.pick.how for one in next_up(state, KEYS, a_round(state), "unlike", count=6, turn=4)] == [
        one.pick.how for one in ten[4:]
    ]


def test_an_unreadable_specimen_is_not_asked():
    features = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    features[7] = np.nan
    state = State(Space.of(features), np.full(N, -1), np.zeros(N, bool))
    assert 7 not in {one.row for one in next_up(state, KEYS, a_round(state), count=N)}


def test_the_default_order_comes_first():
    assert next(iter(ORDERS)) == DEFAULT
