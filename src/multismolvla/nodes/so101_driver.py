"""The SO-101 on its servo bus as a lifecycle node: trajectories in, joint states out."""

from __future__ import annotations

import time
from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.control.trajectory import TrajectoryError
from multismolvla.embodiment.so101 import SO101
from multismolvla.nodes.diagnostics import DIAGNOSTICS_PERIOD_S
from multismolvla.nodes.driver_status import DriverStatus
from multismolvla.nodes.parameters import declare_settings, reject_unknown
from multismolvla.nodes.run import log_event, run
from multismolvla.nodes.trajectory_message import read_trajectory
from multismolvla.priority import prefer_process, prepare_control_thread
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import CalibrationError, load_calibration
from multismolvla.robot.so101 import ArmState, SO101Arm
from multismolvla.stack.arm import safety_filter
from multismolvla.stack.arm_runner import ArmRunner
from multismolvla.stack.periodic_thread import PeriodicThread
from multismolvla.stack.settings import DriverSettings, or_shipped

# How long a service waits for the control loop.
TORQUE_TIMEOUT_S = 2.0

# Pause before a calibration that could not be read is tried again.
CONFIGURE_PERIOD_S = 2.0

# The next tick retries anyway.
RETRIES = 1


class SO101Driver(LifecycleNode):
    def __init__(self, **options) -> None:
        super().__init__("so101_driver", **options)
        self._settings = settings = declare_settings(self, DriverSettings())
        reject_unknown(self)
        self._runner: ArmRunner | None = None
        self._thread: PeriodicThread | None = None
        self._active = False
        self._trouble = "not configured"
        self._published: tuple = ()
        self._joint_states = self.create_publisher(JointState, "joint_states", 1)
        self._status = DriverStatus(self, settings.port, settings.rate_hz)
        self.create_subscription(JointTrajectory, "joint_trajectory", self._on_trajectory, 1)
        self.create_service(SetBool, "~/torque", self._on_torque)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/reset", self._on_reset)
        # Status goes out at a steady rate even when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_status, clock=steady)
        if settings.autostart:
            self._autostart = self.create_timer(CONFIGURE_PERIOD_S, self._start, clock=steady)
            self._start()

    def _start(self) -> None:
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self._autostart.cancel()
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            calibration = load_calibration(or_shipped(self._settings.calibration))
        except CalibrationError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.get_logger().error(f"{error}; the arm is not driven until then")
                self._publish_status()
            return TransitionCallbackReturn.FAILURE
        self._trouble = ""
        clock, settings = self.get_clock(), self._settings
        self._runner = ArmRunner(
            lambda: SO101Arm(FeetechBus(settings.port, retries=RETRIES), calibration),
            safety_filter(settings, SO101),
            lambda: clock.now().nanoseconds,
            self._publish_state,
            partial(log_event, self),
        )
        self._runner.hold("not active")
        self._prepared = False
        self._thread = PeriodicThread(1.0 / settings.rate_hz, self._tick, self._on_loop_error)
        self._thread.start()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = True
        self._runner.hold("")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = False
        self._runner.hold("not active")
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
            self._runner.close()
        self._thread = self._runner = None
        self._active = False

    def destroy_node(self) -> None:
        self.close()
        super().destroy_node()

    def _tick(self) -> None:
        if not self._prepared:
            self._prepared = True
            if self._settings.realtime and (refused := prepare_control_thread()):
                self.get_logger().info(refused)
        self._runner.tick()
        if self._runner.status().summary != self._published:
            self._publish_status()

    def _on_loop_error(self, error: Exception) -> None:
        if self.context.ok():
            # The launch file starts the node again; until then the servos hold.
            self.get_logger().fatal(f"control loop ended: {type(error).__name__}: {error}")
            self.context.try_shutdown()

    def _on_trajectory(self, message: JointTrajectory) -> None:
        runner = self._runner
        if runner is None or not self._active:
            return
        try:
            now_ns = self.get_clock().now().nanoseconds
            runner.follow(read_trajectory(message, now_ns, SO101.joint_names))
        except TrajectoryError as error:
            runner.hold(f"joint_trajectory refused: {error}")

    def _on_torque(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.message = "the driver is not configured"
        if self._runner is not None:
            response.success = self._runner.set_torque(request.data, TORQUE_TIMEOUT_S)
            done = f"torque is {'on' if request.data else 'off'}"
            response.message = done if response.success else self._runner.status().fault
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._ask(ArmRunner.stop, "stopped", response)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._ask(ArmRunner.reset, "ready for commands", response)

    def _ask(self, action, done: str, response: Trigger.Response) -> Trigger.Response:
        response.message = "the driver is not configured"
        if self._runner is not None:
            action(self._runner)
            response.success, response.message = True, done
        return response

    def _publish_state(self, state: ArmState) -> None:
        message = JointState(name=list(SO101.joint_names))
        message.header.stamp = self.get_clock().now().to_msg()
        message.position = state.positions_rad.tolist()
        message.velocity = state.velocities_rad_s.tolist()
        message.effort = state.loads.tolist()
        self._joint_states.publish(message)

    def _publish_status(self) -> None:
        runner, thread = self._runner, self._thread
        report = None if runner is None else runner.status()
        rate_hz = lag_s = 0.0
        if report is not None and thread is not None:
            self._published = report.summary
            rate_hz, lag_s = thread.rate_hz, thread.lag.worst_s(time.monotonic_ns())
        self._status.publish(report, self._trouble, rate_hz, lag_s)


def main() -> int:
    prefer_process()
    return run(SO101Driver)
