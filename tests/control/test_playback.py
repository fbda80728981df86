"""What the arm is told at each tick."""

import numpy as np
import pytest

from multismolvla.control.action_queue import ActionQueue, latest_only
from multismolvla.control.policy_loop import CLOCK_JUMP_NS, HOLD_REPEAT_NS, Playback
from multismolvla.interfaces import ActionChunk

STEP_NS = 20_000_000


class Rig:
    def __init__(self):
        self.queue = ActionQueue(latest_only)
        self.playback = Playback(self.queue, look_ahead_points=5, step_ns=STEP_NS)
        self.now_ns = 1_000_000_000

    def plan(self, seconds: float, value: float = 0.7) -> int:
        rows = np.full((round(seconds * 50), 6), value)
        return self.queue.merge(ActionChunk(self.now_ns, 0.02, rows), self.now_ns)

    def tick(self, hold: bool = False, advance_ns: int = STEP_NS):
        self.now_ns += advance_ns
        return self.playback.tick(self.now_ns, hold=hold)


@pytest.fixture
def rig():
    return Rig()


def test_a_target_for_now_and_the_look_ahead(rig):
    rig.plan(1.0)
    assert rig.tick().shape == (5, 6)
    assert not rig.playback.holding


def test_before_the_first_chunk_nothing_is_said_and_no_tick_is_starved(rig):
    assert [rig.tick(), rig.tick(hold=True), rig.tick()] == [None, None, None]
    assert rig.playback.starved_ticks == 0
    assert rig.playback.holding


def test_an_empty_queue_repeats_the_last_setpoint_briefly_and_counts(rig):
    rig.plan(0.1)
    for _ in range(4):
        rig.tick()
    repeated = rig.tick()
    assert (repeated == 0.7).all() and repeated.shape == (1, 6)
    for _ in range(HOLD_REPEAT_NS // STEP_NS):
        last = rig.tick()
    assert last is None
    assert rig.playback.starved_ticks == 1 + HOLD_REPEAT_NS // STEP_NS


def test_a_hold_stops_what_is_queued_and_is_no_starvation(rig):
    rig.plan(10.0)
    rig.tick()
    assert rig.tick(hold=True).shape == (1, 6)
    assert rig.tick(hold=False).shape == (1, 6), "the old plan must not resume"
    assert rig.playback.starved_ticks == 0


def test_a_chunk_on_its_way_when_a_hold_begins_is_refused(rig):
    generation = rig.queue.generation
    rig.tick(hold=True)
    rows = np.zeros((50, 6))
    chunk = ActionChunk(rig.now_ns, 0.02, rows)
    assert rig.queue.merge(chunk, rig.now_ns, generation=generation) == 0


def test_a_lasting_hold_does_not_refuse_what_was_asked_for_in_it(rig):
    rig.tick(hold=True)
    generation = rig.queue.generation
    rig.tick(hold=True)
    assert rig.queue.generation == generation


def test_after_a_restart_starvation_counts_from_the_next_first_chunk(rig):
    rig.plan(1.0)
    rig.tick()
    rig.playback.restart(rig.now_ns)
    rig.tick()
    assert rig.playback.starved_ticks == 0
    assert not rig.playback.had_chunk


def test_a_clock_set_back_is_noticed_and_the_last_setpoint_repeated_on_the_new_clock(rig):
    rig.plan(1.0)
    rig.tick()
    rig.now_ns = 0
    assert rig.playback.clock_jumped_back(rig.now_ns)
    rig.playback.restart(rig.now_ns)
    assert (rig.tick() == 0.7).all()
    for _ in range(HOLD_REPEAT_NS // STEP_NS):
        last = rig.tick()
    assert last is None


def test_a_restart_in_a_long_hold_repeats_nothing(rig):
    rig.plan(1.0)
    rig.tick()
    rig.tick(hold=True)
    rig.tick(hold=True, advance_ns=10 * HOLD_REPEAT_NS)
    rig.playback.restart(rig.now_ns)
    assert rig.tick() is None


def test_a_small_correction_of_the_clock_is_no_jump_and_no_starvation(rig):
    rig.plan(1.0)
    rig.tick()
    assert not rig.playback.clock_jumped_back(rig.now_ns - CLOCK_JUMP_NS)
    rig.tick(advance_ns=-CLOCK_JUMP_NS)
    assert rig.playback.starved_ticks == 0
