"""Load is reported at once, shed step by step in the stated order, and taken back with room."""

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.control.load_shedding import (
    FORGET_NS,
    LADDER,
    OVERLOADED_S,
    RECOVER_NS,
    ROOM_S,
    SHED_NS,
    Load,
    LoadShedding,
)

STEP_NS = 100_000_000


def drive(shedding: LoadShedding, lag_s: float, duration_ns: int, start_ns: int) -> list[Load]:
    """The load at every tenth of a second, with one node as late as this."""
    return [
        shedding.tick(start_ns + k * STEP_NS, {"policy_node": lag_s, "rgb_node": 0.0})
        for k in range(duration_ns // STEP_NS)
    ]


def test_a_node_that_runs_late_is_named_at_once_and_costs_nothing_yet():
    load = LoadShedding().tick(0, {"policy_node": 0.18, "rgb_node": 0.002})
    assert load.overloaded and not load.shed
    assert load.reason == "overloaded: policy_node runs 180 ms late"


def test_what_a_node_reports_counts_until_it_is_too_old():
    shedding = LoadShedding()
    shedding.report("so101_driver", 0, 2 * OVERLOADED_S)
    assert shedding.tick(FORGET_NS - 1, {"policy_node": 0.0}).lag_s == 2 * OVERLOADED_S
    assert shedding.tick(FORGET_NS, {"policy_node": 0.0}).lag_s == 0.0


def test_an_overload_is_reported_once_and_so_is_its_end():
    events = []
    shedding = LoadShedding(lambda severity, text: events.append((severity, text)))
    drive(shedding, 2 * OVERLOADED_S, SHED_NS - STEP_NS, 0)
    assert [severity for severity, _ in events] == ["warning"]
    drive(shedding, 0.0, 2 * RECOVER_NS, SHED_NS)
    assert events[1:] == [("info", "the machine keeps up again")]


def test_a_hiccup_sheds_nothing():
    shedding = LoadShedding()
    shedding.tick(0, {"policy_node": 2 * OVERLOADED_S})
    loads = drive(shedding, 0.0, 2 * RECOVER_NS, STEP_NS)
    assert not any(load.shed for load in loads) and not loads[-1].overloaded


def test_load_that_lasts_sheds_in_the_stated_order_and_room_takes_it_back():
    shedding = LoadShedding()
    steps = len(LADDER)
    loads = drive(shedding, 2 * OVERLOADED_S, (steps + 1) * SHED_NS, 0)
    assert [load.shed for load in loads[:: SHED_NS // STEP_NS]][: steps + 1] == [
        LADDER[:k] for k in range(steps + 1)
    ]
    start_ns = (steps + 1) * SHED_NS
    loads = drive(shedding, 0.0, (steps + 2) * RECOVER_NS, start_ns)
    seen = list(dict.fromkeys(load.shed for load in loads))
    assert seen == [LADDER[:k] for k in range(steps, -1, -1)]
    assert loads[-1] == Load()


def test_between_the_limits_nothing_changes():
    shedding = LoadShedding()
    drive(shedding, 2 * OVERLOADED_S, 2 * SHED_NS, 0)
    shed = shedding.load.shed
    loads = drive(shedding, (OVERLOADED_S + ROOM_S) / 2, 10 * RECOVER_NS, 2 * SHED_NS)
    assert shed and {load.shed for load in loads} == {shed}


@given(lags=st.lists(st.floats(0.0, 1.0), max_size=200))
def test_what_is_shed_is_always_a_beginning_of_the_ladder_one_step_at_a_time(lags):
    shedding, before = LoadShedding(), 0
    for k, lag_s in enumerate(lags):
        load = shedding.tick(k * STEP_NS, {"n": lag_s})
        assert load.shed == LADDER[: len(load.shed)]
        assert abs(len(load.shed) - before) <= 1
        assert load.lag_s == lag_s
        assert load.overloaded or not load.shed
        assert bool(load.reason) == load.overloaded
        before = len(load.shed)


def test_without_any_node_there_is_no_load():
    assert LoadShedding().tick(0, {}) == Load()
