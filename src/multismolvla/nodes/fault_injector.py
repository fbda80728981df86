"""Sits between cameras and sensor nodes, and between arm and policy, and breaks what it passes.

Started by the launch argument `faults`; see docs/failure-testing.md.
"""

from __future__ import annotations

from functools import partial

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.faults.delivery_queue import DeliveryQueue, FaultSchedule
from multismolvla.faults.fault import JOINT_STATES, TimedFault
from multismolvla.faults.scenario_file import load_scenario
from multismolvla.nodes.damaged_messages import DamagedMessages
from multismolvla.nodes.deadline_timer import DeadlineTimer
from multismolvla.nodes.fault_parameters import NAMES, NONE, FaultParameters
from multismolvla.nodes.parameters import declare_file, declare_streams_file, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_qos import offered
from multismolvla.sim.tasks import find_task
from multismolvla.streams import load_stream_table

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class FaultInjector(Node):
    """Turns `<stream>/image_raw` into `<stream>/faulty/image_raw`, and so with joint states.

    What is sound passes as it came, byte by byte. The faults of a scenario begin with the first
    trajectory of the policy; those of parameters at once, and in place of a scenario's.
    """

    def __init__(self, **options) -> None:
        super().__init__("fault_injector", **options)
        streams_file = declare_streams_file(self)
        about = "Scenario to run, a YAML file; empty is none."
        scenario = declare_file(self, "scenario", "", about)
        self._table = load_stream_table(streams_file)
        kinds = {stream.name: stream.kind for stream in self._table} | {JOINT_STATES: JOINT_STATES}
        self._by_stream = {name: FaultParameters(self, name, kind) for name, kind in kinds.items()}
        reject_unknown(self)
        self._scenario = load_scenario(scenario, self._table, find_task) if scenario else None

        self._messages = DamagedMessages()
        self._schedules: dict[str, FaultSchedule] = {}
        self._queue = DeliveryQueue(self._schedules)
        # The streams that were broken when their last message came.
        self._broken: set[str] = set()
        self._outputs = {name: self._pass_on(name) for name in kinds}
        self._late = DeadlineTimer(self, self._send_due)
        for given in self._by_stream.values():
            self._break(given, {})
        self.add_on_set_parameters_callback(self._on_parameters)
        self.create_service(Trigger, "~/mend", self._on_mend)
        self.create_service(Trigger, "~/start", self._on_start)
        self._waiting = self._scenario is not None
        if self._waiting:
            self.create_subscription(
                JointTrajectory, "joint_trajectory", self._on_trajectory, BEST_EFFORT, raw=True
            )
            self.get_logger().info(
                f"scenario {self._scenario.name} begins with the policy's first trajectory"
            )

    def _pass_on(self, stream: str) -> Publisher:
        """Connect a stream with its output."""
        receive = partial(self._on_message, stream)
        if stream == JOINT_STATES:
            output = self.create_publisher(JointState, f"faulty/{stream}", 1)
            self.create_subscription(JointState, stream, receive, BEST_EFFORT, raw=True)
            return output
        images = self.create_subscription(
            Image, f"{stream}/image_raw", receive, qos_profile_sensor_data, raw=True
        )
        info = self.create_publisher(CameraInfo, f"{stream}/faulty/camera_info", offered())
        # Beside the image, as the sensor nodes look for it.
        self.create_subscription(
            CameraInfo,
            f"{images.topic_name.rpartition('/')[0]}/camera_info",
            partial(self._on_camera_info, stream, info),
            qos_profile_sensor_data,
            raw=True,
        )
        return self.create_publisher(Image, f"{stream}/faulty/image_raw", offered())

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_message(self, stream: str, data: bytes) -> None:
        schedule = self._schedules.get(stream)
        now_ns = self._now_ns()
        broken = schedule is not None and schedule.active(now_ns)
        if broken != (stream in self._broken):
            self._tell(stream, schedule if broken else None, now_ns)
        if not broken:
            self._outputs[stream].publish(data)
            return
        if schedule.silent(now_ns):
            return
        kind = self._by_stream[stream].kind
        message = deserialize_message(data, JointState if kind == JOINT_STATES else Image)
        try:
            delivery = self._messages.take(kind, message, now_ns)
        except ValueError as error:
            self.get_logger().warning(
                f"{stream}: passed on unchanged: {error}", throttle_duration_sec=5.0
            )
            self._outputs[stream].publish(data)
            return
        self._queue.send(stream, delivery, now_ns)
        self._send_due()

    def _on_camera_info(self, stream: str, output: Publisher, data: bytes) -> None:
        schedule = self._schedules.get(stream)
        if schedule is None or not schedule.silent(self._now_ns()):
            output.publish(data)

    def _send_due(self) -> None:
        """Send what has its time, and wait for what has not."""
        now_ns = self._now_ns()
        for stream, delivery in self._queue.due(now_ns):
            kind = self._by_stream[stream].kind
            self._outputs[stream].publish(self._messages.give(kind, delivery))
        self._late.set(self._queue.next_ns)

    def _tell(self, stream: str, schedule: FaultSchedule | None, now_ns: int) -> None:
        """Log what has begun or ended."""
        if schedule is None:
            self._broken.discard(stream)
            self.get_logger().info(f"{stream}: sound again")
            return
        self._broken.add(stream)
        names = [timed.fault.name for timed in schedule.faults if timed.active(now_ns)]
        self.get_logger().warning(f"{stream}: {', '.join(names)}")

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        changes = {parameter.name: parameter.value for parameter in parameters}
        touched = [
            given
            for given in self._by_stream.values()
            if any(given.name(last) in changes for last in NAMES)
        ]
        try:
            for given in touched:
                given.fault(changes)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for given in touched:
            self._break(given, changes)
        return SetParametersResult(successful=True)

    def _break(self, given: FaultParameters, changes: dict) -> None:
        """Apply the parameters of a stream; without a fault there, the scenario's continues."""
        fault = given.fault(changes)
        if fault is not None:
            self._schedules[given.stream] = FaultSchedule([TimedFault(fault, self._now_ns())])
        elif changes.get(given.name("fault")) == NONE:
            self._schedules.pop(given.stream, None)

    def _on_mend(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """End every fault, also those that a scenario still has in store."""
        self._waiting = False
        names = [given.name("fault") for given in self._by_stream.values()]
        self.set_parameters([Parameter(name, value=NONE) for name in names])
        self._schedules.clear()
        response.success, response.message = True, "every stream is sound"
        return response

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Begin the scenario now, or once more."""
        response.success = self._scenario is not None
        response.message = "there is no scenario; give one by the parameter 'scenario'"
        if response.success:
            self._start()
            response.message = f"scenario {self._scenario.name} begins"
        return response

    def _on_trajectory(self, _: bytes) -> None:
        if self._waiting:
            self._start()

    def _start(self) -> None:
        self._waiting = False
        self._schedules.update(self._scenario.schedules(self._table, self._now_ns()))
        self.get_logger().info(f"scenario {self._scenario.name} begins")


def main() -> int:
    return run(FaultInjector)
