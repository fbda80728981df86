"""The same trajectories through an arm on a servo bus and through the simulator's servos."""

import numpy as np
import pytest

from multismolvla.control.safety import SafetyState
from multismolvla.control.trajectory import Trajectory
from multismolvla.embodiment.so101 import SO101
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.registers import TORQUE_LIMIT
from multismolvla.robot.servos import simulated_calibration
from multismolvla.robot.so101 import SO101Arm
from multismolvla.sim.servo import TICK_RAD
from multismolvla.sim.simulation import Simulation
from multismolvla.stack.arm import SimulatedArm, safety_filter
from multismolvla.stack.arm_runner import ArmRunner
from multismolvla.stack.settings import DriverSettings

PERIOD_NS = 10_000_000


class Side:
    """An arm runner on one simulated arm."""

    def __init__(self, open_arm):
        self.simulation = Simulation()
        self.simulation.reset("red_cube_in_bin", 1)
        self.now_ns, self.steady_s = 10**9, 0.0
        self.setpoints, self.states, self.goals = [], [], []
        self.settle = lambda: None
        self.runner = ArmRunner(
            lambda: open_arm(self),
            safety_filter(DriverSettings(ramp_s=0.2), SO101),
            lambda: self.now_ns,
            lambda state: self.states.append(state.positions_rad),
            lambda severity, text: None,
            lambda command, setpoint: self.setpoints.append(setpoint),
            lambda: self.steady_s,
        )

    def tick(self):
        self.now_ns += PERIOD_NS
        self.simulation.advance(PERIOD_NS * 1e-9)
        self.runner.tick()
        self.settle()
        self.goals.append(self.simulation.servos.goals_rad())


@pytest.fixture
def on_bus():
    with_bus = []

    def open_arm(side):
        bus = EmulatedBus(side.simulation.servos, torque_on=True)
        with_bus.append(bus)
        connection = FeetechBus(bus.port, timeout_s=5.0)
        # Goals are written without acknowledgement: an answer shows that they have arrived.
        side.settle = lambda: connection.read(1, TORQUE_LIMIT)
        return SO101Arm(connection, simulated_calibration())

    side = Side(open_arm)
    yield side
    side.runner.close()
    for bus in with_bus:
        bus.close()


@pytest.fixture
def direct():
    return Side(lambda side: SimulatedArm(side.simulation.servos))


def swing(now_ns, target):
    names = SO101.joint_names
    return Trajectory(now_ns, names, [0.0, 0.04], [list(target), list(target + 0.01)], names)


def test_both_arms_get_the_same_goals(on_bus, direct):
    for number in range(240):
        for side in (on_bus, direct):
            # Nothing is commanded for a while, then something out of reach, then nothing again.
            if 20 <= number < 100:
                swung = SO101.home_rad + 0.3 * np.sin(number / 25.0)
                side.runner.follow(swing(side.now_ns, swung))
            elif 130 <= number < 180:
                side.runner.follow(swing(side.now_ns, SO101.upper_rad + 0.1))
            elif number == 200:
                side.runner.stop()
            side.tick()
    assert {s.state for s in direct.setpoints} == set(SafetyState)
    assert len(on_bus.setpoints) == len(direct.setpoints)
    for mine, theirs in zip(on_bus.setpoints, direct.setpoints, strict=True):
        assert (mine.state, mine.reason) == (theirs.state, theirs.reason)
        assert (mine.goal_rad is None) == (theirs.goal_rad is None)
        if mine.goal_rad is not None:
            # It begins at the goals that the servos hold, which a bus knows in ticks.
            np.testing.assert_allclose(mine.goal_rad, theirs.goal_rad, atol=1.01 * TICK_RAD)
    np.testing.assert_allclose(on_bus.goals, direct.goals, atol=2.01 * TICK_RAD)
    np.testing.assert_allclose(on_bus.states, direct.states, atol=0.01)
