"""The SO-101 on its servo bus as a lifecycle node: trajectories in, joint states out."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.arm import JOINT_LOWER_RAD, JOINT_NAMES, JOINT_UPPER_RAD
from multismolvla.control.safety import SafetyFilter, SafetyLimits, SafetyState
from multismolvla.control.trajectory import Trajectory, TrajectoryError
from multismolvla.nodes.diagnostics import (
    DIAGNOSTICS_PERIOD_S,
    SLOW_LOOP,
    Diagnostics,
    Task,
    checked,
    key_values,
)
from multismolvla.nodes.parameters import declare, reject_unknown
from multismolvla.nodes.periodic_thread import PeriodicThread
from multismolvla.nodes.run import run
from multismolvla.priority import prefer_process, prepare_control_thread
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import GRIPPER, CalibrationError, load_calibration
from multismolvla.robot.protocol import OVERLOAD
from multismolvla.robot.so101 import ArmState
from multismolvla.sensing.stream_checks import frequency_check
from multismolvla.stack.arm_loop import ArmLoop, LoopStatus

# How long a service waits for the control loop.
TORQUE_TIMEOUT_S = 2.0

# Pause before a calibration that could not be read is tried again.
CONFIGURE_PERIOD_S = 2.0

# After a stall of the loop this many periods are made up for.
MAX_STEP_PERIODS = 3

# The next tick asks again anyway.
RETRIES = 1

# Warn above this temperature; the servo switches itself off at 70 (STS3215 memory table).
WARM_C = 60.0


class SO101Driver(LifecycleNode):
    def __init__(self, **options) -> None:
        super().__init__("so101_driver", **options)
        fixed = partial(declare, self, read_only=True)
        self._port = fixed("port", "/dev/ttyACM0", "Serial port of the servo bus.")
        self._calibration = fixed(
            "calibration",
            str(Path.home() / ".ros" / "so101_calibration.json"),
            "Calibration of this arm, a JSON file in LeRobot's format.",
        )
        self._rate_hz = fixed(
            "rate_hz", 100.0, "Rate of the control loop, Hz.", minimum=10.0, maximum=200.0
        )
        velocity = fixed(
            "max_velocity_rad_s", 3.0, "Speed limit of a joint, rad/s.", minimum=0.01, maximum=5.0
        )
        acceleration = fixed(
            "max_acceleration_rad_s2",
            30.0,
            "Acceleration limit of a joint, rad/s2.",
            minimum=0.1,
            maximum=200.0,
        )
        timeout_s = fixed(
            "command_timeout_s",
            0.2,
            "Age of a trajectory from which the arm holds, s.",
            minimum=0.02,
            maximum=5.0,
        )
        ramp_s = fixed(
            "ramp_s",
            1.0,
            "Time over which the speed limit rises after start, reset or a fault, s.",
            minimum=0.0,
            maximum=10.0,
        )
        self._realtime = fixed(
            "realtime",
            True,
            "Run the control loop with real-time priority and locked memory where granted.",
        )
        autostart = fixed("autostart", True, "Configure and activate at start.")
        reject_unknown(self)
        self._limits = SafetyLimits(
            JOINT_LOWER_RAD,
            JOINT_UPPER_RAD,
            np.full(len(JOINT_NAMES), velocity),
            np.full(len(JOINT_NAMES), acceleration),
            timeout_s,
            ramp_s,
            MAX_STEP_PERIODS / self._rate_hz,
        )

        self._loop: ArmLoop | None = None
        self._thread: PeriodicThread | None = None
        self._active = False
        self._trouble = "not configured"
        self._published = ()
        self._joint_states = self.create_publisher(JointState, "joint_states", 1)
        self._status = self.create_publisher(DiagnosticArray, "~/status", 1)
        self._diagnostics = Diagnostics(self, f"so101 on {self._port}")
        self.create_subscription(JointTrajectory, "joint_trajectory", self._on_trajectory, 1)
        self.create_service(SetBool, "~/torque", self._on_torque)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/reset", self._on_reset)
        # Status goes out at a steady rate even when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_status, clock=steady)
        if autostart:
            self._autostart = self.create_timer(CONFIGURE_PERIOD_S, self._start, clock=steady)
            self._start()

    def _start(self) -> None:
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self._autostart.cancel()
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            calibration = load_calibration(self._calibration)
        except CalibrationError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.get_logger().error(f"{error}; the arm is not driven until then")
                self._publish_status()
            return TransitionCallbackReturn.FAILURE
        self._trouble = ""
        clock = self.get_clock()
        self._loop = ArmLoop(
            partial(FeetechBus, self._port, retries=RETRIES),
            calibration,
            SafetyFilter(self._limits),
            lambda: clock.now().nanoseconds,
            self._publish_state,
            self._on_event,
        )
        self._loop.hold("not active")
        self._prepared = False
        self._thread = PeriodicThread(1.0 / self._rate_hz, self._tick, self._on_loop_error)
        self._thread.start()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = True
        self._loop.hold("")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = False
        self._loop.hold("not active")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        self._trouble = "not configured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        self._trouble = "shut down"
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End the control loop and release the port; the arm holds where it is."""
        if self._thread is not None:
            self._thread.stop()
            self._loop.close()
        self._thread = self._loop = None
        self._active = False

    def destroy_node(self) -> None:
        self.close()
        super().destroy_node()

    def _tick(self) -> None:
        if not self._prepared:
            self._prepared = True
            if self._realtime and (refused := prepare_control_thread()):
                self.get_logger().info(refused)
        self._loop.tick()
        status = self._loop.status()
        if (status.state, status.reason, status.fault, status.torque) != self._published:
            self._publish_status()

    def _on_loop_error(self, error: Exception) -> None:
        if self.context.ok():
            # The launch file starts the node again; until then the servos hold.
            self.get_logger().fatal(f"control loop ended: {type(error).__name__}: {error}")
            self.context.try_shutdown()

    def _on_trajectory(self, message: JointTrajectory) -> None:
        loop = self._loop
        if loop is None or not self._active:
            return
        stamp = message.header.stamp
        # A stamp of zero means now, as ros2_control's joint_trajectory_controller takes it.
        stamp_ns = stamp.sec * 10**9 + stamp.nanosec or self.get_clock().now().nanoseconds
        offsets_s = [
            point.time_from_start.sec + point.time_from_start.nanosec * 1e-9
            for point in message.points
        ]
        try:
            loop.follow(
                Trajectory(
                    stamp_ns,
                    message.joint_names,
                    offsets_s,
                    [point.positions for point in message.points],
                )
            )
        except TrajectoryError as error:
            loop.hold(f"joint_trajectory refused: {error}")

    def _on_torque(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.message = "the driver is not configured"
        if self._loop is not None:
            response.success = self._loop.set_torque(request.data, TORQUE_TIMEOUT_S)
            done = f"torque is {'on' if request.data else 'off'}"
            response.message = done if response.success else self._loop.status().fault
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._ask_loop(ArmLoop.stop, "stopped", response)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._ask_loop(ArmLoop.reset, "ready for commands", response)

    def _ask_loop(self, action, done: str, response: Trigger.Response) -> Trigger.Response:
        response.message = "the driver is not configured"
        if self._loop is not None:
            action(self._loop)
            response.success, response.message = True, done
        return response

    def _on_event(self, severity: str, text: str) -> None:
        # rclpy wants one severity per line of code.
        if severity == "error":
            self.get_logger().error(text)
        elif severity == "warning":
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)

    def _publish_state(self, state: ArmState) -> None:
        message = JointState(name=list(JOINT_NAMES))
        message.header.stamp = self.get_clock().now().to_msg()
        message.position = state.positions_rad.tolist()
        message.velocity = state.velocities_rad_s.tolist()
        message.effort = state.loads.tolist()
        self._joint_states.publish(message)

    def _publish_status(self) -> None:
        loop, thread = self._loop, self._thread
        rate_hz = 0.0
        status = DiagnosticStatus(name="so101_driver", hardware_id=self.get_fully_qualified_name())
        if loop is None or thread is None:
            status.level, status.message = DiagnosticStatus.ERROR, self._trouble
            values = {"state": "UNCONFIGURED", "reason": self._trouble, "port": self._port}
        else:
            report = loop.status()
            rate_hz = thread.rate_hz if report.connected else 0.0
            self._published = (report.state, report.reason, report.fault, report.torque)
            status.level, status.message = _verdict(report)
            values = {
                "state": report.state.value,
                "reason": report.fault or report.reason,
                "port": self._port,
                "connected": int(report.connected),
                "torque": int(report.torque),
                "rate_hz": f"{thread.rate_hz:.1f}",
                "bus_errors": report.bus_errors,
                "lag_ms": f"{thread.lag.worst_s(time.monotonic_ns()) * 1e3:.0f}",
            }
            for joint, read in report.diagnostics.items():
                values[f"voltage_v.{joint}"] = f"{read.voltage_v:.1f}"
                values[f"temperature_c.{joint}"] = f"{read.temperature_c:.0f}"
                values[f"current_a.{joint}"] = f"{read.current_a:.2f}"
        status.values = key_values(values)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)
        if not self._diagnostics.wanted:
            return
        self._diagnostics.publish(
            Task("arm", status.level, status.message, values),
            checked("joint_states frequency", frequency_check(rate_hz, self._rate_hz, SLOW_LOOP)),
        )


def _verdict(report: LoopStatus) -> tuple[bytes, str]:
    """Level and sentence of the status."""
    if report.fault:
        return DiagnosticStatus.ERROR, report.fault
    warm = [name for name, read in report.diagnostics.items() if read.temperature_c > WARM_C]
    if report.servo_fault:
        return DiagnosticStatus.WARN, f"holding: {report.servo_fault}"
    if not report.torque:
        return DiagnosticStatus.WARN, "torque is off: the arm is limp"
    if report.state in (SafetyState.HOLD, SafetyState.STOPPED):
        return DiagnosticStatus.WARN, f"holding: {report.reason}"
    if warm:
        return DiagnosticStatus.WARN, f"hot: {', '.join(warm)}; let the arm rest"
    gripper = report.diagnostics.get(GRIPPER)
    if gripper is not None and gripper.status_bits & OVERLOAD:
        return DiagnosticStatus.WARN, "gripper reports overload: it grips weakly until it opens"
    if report.state is SafetyState.IDLE:
        return DiagnosticStatus.OK, report.reason
    return DiagnosticStatus.OK, report.reason or "following commands"


def main() -> int:
    prefer_process()
    return run(SO101Driver)
