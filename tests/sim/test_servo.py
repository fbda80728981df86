"""The servos behave like an STS3215: speed, torque limit, quantisation, limp when off."""

import math
import threading

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.sim.servo import (
    AMBIENT_C,
    NO_LOAD_SPEED_RAD_S,
    STALL_TORQUE_NM,
    TICK_RAD,
)
from multismolvla.sim.simulation import Simulation

PAN, LIFT, GRIPPER = 0, 1, 5


@pytest.fixture
def simulation():
    return Simulation()


def test_a_step_settles_on_the_goal_without_much_overshoot(simulation):
    servos = simulation.servos
    servos.set_goal_rad(PAN, 0.8)
    seen = []
    for _ in range(100):
        simulation.advance(0.01)
        seen.append(servos.positions_rad()[PAN])
    assert max(seen) < 0.84
    assert seen[-1] == pytest.approx(0.8, abs=2 * TICK_RAD)


def test_a_long_move_runs_close_to_but_not_above_the_no_load_speed(simulation):
    servos = simulation.servos
    servos.set_goal_rad(PAN, 1.9)
    fastest = 0.0
    for _ in range(60):
        simulation.advance(0.01)
        fastest = max(fastest, abs(servos.velocities_rad_s()[PAN]))
    assert 0.8 * NO_LOAD_SPEED_RAD_S < fastest <= 1.01 * NO_LOAD_SPEED_RAD_S


def test_the_load_never_exceeds_the_torque_limit(simulation):
    servos = simulation.servos
    servos.set_torque_limit(PAN, 0.3)
    servos.set_goal_rad(PAN, 1.5)
    loads = []
    for _ in range(40):
        simulation.advance(0.01)
        loads.append(abs(servos.loads()[PAN]))
    assert max(loads) == pytest.approx(0.3, abs=1e-6)


def test_a_weak_servo_gives_way_to_gravity(simulation):
    servos = simulation.servos
    for joint in (1, 2, 3):
        servos.set_torque_limit(joint, 0.005)
    simulation.advance(2.0)
    assert np.abs(servos.positions_rad() - SO101.home_rad)[1:4].max() > 0.1


def test_positions_and_goals_are_whole_ticks(simulation):
    servos = simulation.servos
    servos.set_goal_rad(PAN, 0.1234)
    simulation.advance(0.2)
    for angles in (servos.positions_rad(), servos.goals_rad()):
        ticks = angles / TICK_RAD
        np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-6)
    assert math.isclose(TICK_RAD * 4096, 2 * math.pi)
    assert servos.goals_rad()[PAN] != 0.1234


def test_a_joint_without_torque_is_limp_and_takes_its_goal_up_again(simulation):
    servos = simulation.servos
    for joint in range(6):
        servos.set_torque(joint, False)
    simulation.advance(2.0)
    fallen = servos.positions_rad()
    assert np.abs(fallen - SO101.home_rad).max() > 0.2
    np.testing.assert_array_equal(servos.loads(), 0.0)
    servos.set_goal_rad(LIFT, -1.0)
    simulation.advance(0.2)
    np.testing.assert_array_equal(servos.loads(), 0.0)
    for joint in range(6):
        servos.set_torque(joint, True)
    simulation.advance(2.0)
    assert servos.positions_rad()[LIFT] == pytest.approx(-1.0, abs=0.02)


def test_a_stalled_servo_warms_up_and_draws_current(simulation):
    servos = simulation.servos
    cold_current, full_voltage = servos.currents_a()[GRIPPER], servos.voltages_v()[0]
    servos.set_torque_limit(GRIPPER, 1.0)
    servos.set_goal_rad(GRIPPER, -0.17)
    servos.set_goal_rad(LIFT, 1.7)
    simulation.advance(3.0)
    assert servos.currents_a()[LIFT] > cold_current
    assert servos.voltages_v()[0] < full_voltage
    assert servos.temperatures_c()[LIFT] > AMBIENT_C
    assert (np.abs(servos.loads()) <= 1.0).all()


@pytest.mark.parametrize("goal", [math.nan, math.inf])
def test_a_goal_that_is_no_number_is_refused(simulation, goal):
    with pytest.raises(ValueError, match="shoulder_pan"):
        simulation.servos.set_goal_rad(PAN, goal)


def test_a_torque_limit_beyond_stall_is_refused(simulation):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        simulation.servos.set_torque_limit(PAN, STALL_TORQUE_NM)


def test_a_bus_may_read_and_write_while_the_simulation_runs(simulation):
    done = threading.Event()
    errors = []

    def bus():
        try:
            while not done.is_set():
                simulation.servos.set_goal_rad(PAN, 0.2)
                assert np.isfinite(simulation.servos.positions_rad()).all()
                assert np.isfinite(simulation.servos.loads()).all()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=bus)
    thread.start()
    simulation.advance(1.0)
    done.set()
    thread.join()
    assert not errors
    assert simulation.servos.positions_rad()[PAN] == pytest.approx(0.2, abs=0.01)
