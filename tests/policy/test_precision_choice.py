"""The choice of precision and threads, by candidates that say how long they take."""

from types import SimpleNamespace

import numpy as np
import pytest

from multismolvla.policy.precision_choice import (
    BUDGET_S,
    FAST_ENOUGH_S,
    LEAST_MOTION_RAD,
    MOST_ERROR,
    THREADS_GAIN,
    choose,
    largest_error,
)

EXAMPLES = [SimpleNamespace(state=np.full(6, 0.1 * k)) for k in range(3)]


class Machine:
    """Precision -> seconds of a chunk with each number of threads, and the error of its targets."""

    def __init__(self, **precisions) -> None:
        self.precisions = precisions
        self.now = 5.0
        self.calls: list[tuple[str, int]] = []
        self.made: list[str] = []

    def make(self, name):
        self.made.append(name)
        seconds, error = self.precisions[name]

        def infer(observation, threads):
            self.calls.append((name, threads))
            first = self.calls.count((name, threads)) == 1
            self.now += seconds[threads] + (0.02 if first else 0.0)
            # The way that float32 commands is 1 rad.
            return np.tile(observation.state + 1.0 - error, (4, 1))

        return SimpleNamespace(infer=infer, name=name)

    def choose(self, threads=(1, 2), examples=EXAMPLES):
        choice, best = choose(
            self.make, tuple(self.precisions), threads, examples, clock=lambda: self.now
        )
        assert best.name == choice.precision
        return choice


def both(one, two=None):
    return {1: one, 2: two or one}


def test_the_fastest_within_the_error_is_taken_and_the_reason_names_them_all():
    machine = Machine(
        float32=(both(0.27), 0.0), int8=(both(0.24), 0.013), bfloat16=(both(0.12, 0.10), 0.003)
    )
    choice = machine.choose()
    assert (choice.precision, choice.threads) == ("bfloat16", 1)
    assert choice.seconds == pytest.approx(0.12)
    assert choice.reason == (
        "precision bfloat16 (120 ms; float32 270 ms, int8 240 ms out: error 1.3 %), "
        "1 thread (2: 100 ms)"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [(0.9 * MOST_ERROR, "int8"), (1.1 * MOST_ERROR, "float32"), (np.nan, "float32")],
)
def test_what_is_too_far_from_float32_is_never_taken(error, expected):
    machine = Machine(float32=(both(0.03), 0.0), int8=(both(0.01), error))
    assert machine.choose().precision == expected


def test_what_is_exact_but_slower_is_not_taken():
    machine = Machine(float32=(both(0.03), 0.0), bfloat16=(both(0.031), 0.0))
    assert machine.choose().precision == "float32"


@pytest.mark.parametrize(("gain", "threads"), [(0.95 * THREADS_GAIN, 1), (1.05 * THREADS_GAIN, 2)])
def test_a_second_thread_has_to_be_worth_it(gain, threads):
    choice = Machine(float32=(both(0.12, 0.12 / gain), 0.0)).choose()
    assert choice.threads == threads
    assert f"({3 - threads}: " in choice.reason


def test_a_policy_that_is_fast_on_one_thread_is_not_tried_on_two():
    machine = Machine(float32=(both(0.9 * FAST_ENOUGH_S, 0.001), 0.0))
    assert machine.choose().threads == 1
    assert {threads for _, threads in machine.calls} == {1}


def test_a_number_of_threads_that_was_given_is_obeyed():
    machine = Machine(float32=(both(0.06, 0.01), 0.0))
    choice = machine.choose(threads=(1,))
    assert choice.threads == 1 and choice.reason == "precision float32 (60 ms), 1 thread"
    assert {threads for _, threads in machine.calls} == {1}


def test_what_is_clearly_slower_is_asked_twice():
    machine = Machine(float32=(both(0.01), 0.0), int8=(both(0.05), 0.0))
    machine.choose(threads=(1,))
    assert machine.calls.count(("int8", 1)) == 2


def test_a_large_policy_is_asked_once_per_candidate():
    machine = Machine(float32=(both(2 * BUDGET_S), 0.0), bfloat16=(both(1.1 * BUDGET_S), 0.0))
    assert machine.choose().precision == "bfloat16"
    assert machine.calls == [("float32", 1), ("bfloat16", 1), ("bfloat16", 2)]


def test_all_examples_count():
    def off_by(number, error):
        targets = {k: np.tile(e.state + 1.0, (4, 1)) for k, e in enumerate(EXAMPLES)}
        targets[number] = targets[number] + error
        return targets

    expected = off_by(0, 0.0)
    assert largest_error(off_by(2, 0.05), expected, EXAMPLES) == pytest.approx(0.05)
    # What only one of them was asked does not count.
    assert largest_error({2: off_by(2, 0.05)[2]}, {0: expected[0]}, EXAMPLES) == 0.0


def test_steps_are_measured_by_the_longest_step_wherever_the_arm_is():
    examples = [SimpleNamespace(state=np.full(8, 0.7))]
    expected = {0: np.tile([0.5, 0, 0, 0, 0, 0, -1.0], (4, 1))}
    off = {0: expected[0] + 0.02}
    assert largest_error(off, expected, examples, steps=True) == pytest.approx(0.02)


def test_an_arm_that_is_to_stay_has_no_way_to_measure_by():
    (still,) = examples = [SimpleNamespace(state=np.zeros(6))]
    expected, off = {0: np.tile(still.state, (4, 1))}, {0: np.full((4, 6), 0.01 * LEAST_MOTION_RAD)}
    assert largest_error(off, expected, examples) == pytest.approx(0.01)
