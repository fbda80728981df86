"""The simulated robot: an SO-101 behind a pseudo-terminal, its cameras, and the task to be done.

Three threads share the simulation: physics keeps to the clock, the cameras render snapshots of it,
and the executor answers services. The arm is reached only through its servo bus.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import mujoco
import numpy as np
from ament_index_python.packages import get_package_share_directory
from builtin_interfaces.msg import Time
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import ColorRGBA, Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.control.load_shedding import CAMERA_RATE, OVERLOADED_S, Load
from multismolvla.nodes import load_message
from multismolvla.nodes.camera_messages import raw_image
from multismolvla.nodes.parameters import declare, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.sensing.lag import LagMeter
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.layout import SHAPES
from multismolvla.sim.offscreen import RenderingError
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_TASK_ID, Task, find_task
from multismolvla.streams import Stream, load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

# Physics advances in slices of this length, so that the servo bus sees fresh positions.
SLICE_S = 0.005
# Time the machine could not keep up with is given up rather than rushed through.
MAX_LAG_S = 0.1
RESULT_PERIOD_S = 1.0
# Between two reports of a lag.
LAG_REPORT_S = 0.25


class SimNode(Node):
    """Publishes raw camera topics, ground truth and the result; offers the arm's serial port."""

    def __init__(self, **options) -> None:
        super().__init__("sim_node", **options)
        share = get_package_share_directory("multismolvla")
        declare(self, "task", "", "Task id or instruction; empty is the default task.")
        seed = declare(self, "seed", 0, "Seed of the scene.", minimum=0, maximum=2**31 - 1)
        port = declare(
            self,
            "port",
            "",
            "Path of a link to the serial port; empty makes none.",
            read_only=True,
        )
        streams_file = declare(
            self, "streams_file", f"{share}/config/streams.yaml", "Stream table.", read_only=True
        )
        declare(self, "dead_cameras", [""], "Streams whose camera gives no frames.")
        self._factor = declare(
            self,
            "real_time_factor",
            1.0,
            "Simulated seconds per second.",
            minimum=0.01,
            maximum=100.0,
            read_only=True,
        )
        reject_unknown(self)

        self._table = load_stream_table(streams_file)
        self._dead = self._checked_dead_cameras(self.get_parameter("dead_cameras").value)
        self._simulation = Simulation(seed=seed)
        self._simulation.reset(self._task_of(self.get_parameter("task").value), seed)
        self._cameras = Cameras(self._simulation.model, self._table)
        self._colours = {name: self._colour(name) for name in SHAPES}
        # Simulated time never runs backwards, although every reset starts an episode at zero.
        self._clock_offset_s = 0.0
        self._episode = 0
        self._solved = False
        self._episode_start_s = time.monotonic()
        self._lag = LagMeter()
        self._next_report_s = 0.0
        self._load = Load()
        self._bridge = CvBridge()

        self._images = {
            stream.name: (
                self.create_publisher(Image, f"{stream.name}/image_raw", qos_profile_sensor_data),
                self.create_publisher(
                    CameraInfo, f"{stream.name}/camera_info", qos_profile_sensor_data
                ),
            )
            for stream in self._table
        }
        self._objects = self.create_publisher(MarkerArray, "ground_truth/objects", 1)
        self._result = self.create_publisher(DiagnosticStatus, "~/result", LATCHED)
        self._publishes_clock = self.get_parameter("use_sim_time").value
        self._clock_publisher = self.create_publisher(Clock, "/clock", qos_profile_sensor_data)
        self.create_service(Trigger, "~/reset", self._on_reset)
        load_message.listen(self, self._on_load)
        self.add_on_set_parameters_callback(self._on_parameters)

        self._bus = EmulatedBus(self._simulation.servos, link=port or None, torque_on=True)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("physics", self._run_physics), ("cameras", self._run_cameras))
        ]
        for thread in self._threads:
            thread.start()
        self._publish_result()
        self.create_timer(RESULT_PERIOD_S, self._publish_result)
        self.get_logger().info(
            f"task '{self._simulation.task.instruction}', seed {seed}, arm on {self._bus.port}"
        )

    def close(self) -> None:
        """Stop physics and cameras and take the serial port away."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._bus.close()

    def _task_of(self, name: str) -> Task:
        return find_task(name.strip() or DEFAULT_TASK_ID)

    def _checked_dead_cameras(self, names: list[str]) -> frozenset[str]:
        dead = frozenset(name for name in names if name)
        for name in dead:
            _ = self._table[name]
        return dead

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        dead = self._dead
        try:
            for parameter in parameters:
                if parameter.name == "dead_cameras":
                    dead = self._checked_dead_cameras(parameter.value)
                elif parameter.name == "task":
                    self._task_of(parameter.value)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._dead = dead
        return SetParametersResult(successful=True)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start an episode of the task and seed that the parameters name now."""
        task = self._task_of(self.get_parameter("task").value)
        with self._simulation.lock:
            self._clock_offset_s += self._simulation.time_s
            self._simulation.reset(task, self.get_parameter("seed").value)
            self._episode += 1
            self._episode_start_s = time.monotonic()
            self._solved = False
        self._publish_result()
        response.success, response.message = True, task.instruction
        return response

    def _measured_factor(self) -> float:
        """Simulated seconds per second since the episode began."""
        elapsed_s = time.monotonic() - self._episode_start_s
        return self._simulation.time_s / elapsed_s if elapsed_s > 0.1 else float("nan")

    def _publish_result(self) -> None:
        simulation = self._simulation
        values = {
            "task": simulation.task.id,
            "instruction": simulation.task.instruction,
            "episode": self._episode,
            "success": int(self._solved),
            "time_s": f"{simulation.time_s:.3f}",
            "real_time_factor": f"{self._measured_factor():.4f}",
            "lag_ms": f"{self._lag.worst_s(time.monotonic_ns()) * 1e3:.0f}",
        }
        self._result.publish(
            DiagnosticStatus(
                name="result",
                message="success" if self._solved else "not yet",
                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
            )
        )

    def _on_load(self, load: Load) -> None:
        self._load = load

    def _note_lag(self, lag_s: float) -> None:
        """Keep how late physics or cameras run, and report at once what is worth it."""
        self._lag.note(time.monotonic_ns(), round(lag_s * 1e9))
        if lag_s > OVERLOADED_S and time.monotonic() > self._next_report_s:
            self._next_report_s = time.monotonic() + LAG_REPORT_S
            self._publish_result()

    def _stamp(self) -> Time:
        if not self._publishes_clock:
            return self.get_clock().now().to_msg()
        time_ns = round((self._clock_offset_s + self._simulation.time_s) * 1e9)
        return Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9)

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a thread's work; half a robot must not live on in silence."""
        try:
            work()
        except RenderingError as error:
            # Another start would fail as well. The arm works, and its cameras count as dead.
            self.get_logger().fatal(f"no camera gives frames: {error}")
        except Exception as error:  # Whatever it is, a new process is what helps.
            if self._stop.is_set() or not self.context.ok():
                return
            self.get_logger().fatal(
                f"the simulation failed ({type(error).__name__}: {error}); the node ends so that "
                "it is started anew"
            )
            self.context.try_shutdown()

    def _run_physics(self) -> None:
        due = time.monotonic()
        lagging = False
        while not self._stop.is_set():
            self._simulation.advance(SLICE_S)
            if self._publishes_clock:
                self._clock_publisher.publish(Clock(clock=self._stamp()))
            due += SLICE_S / self._factor
            wait_s = due - time.monotonic()
            self._note_lag(-wait_s)
            if wait_s > 0:
                time.sleep(wait_s)
            elif wait_s < -MAX_LAG_S:
                due = time.monotonic()
                if not lagging:
                    self.get_logger().warning("the machine is too slow: simulated time lags")
                lagging = True
            else:
                lagging = False

    def _run_cameras(self) -> None:
        cameras = self._cameras
        data = mujoco.MjData(self._simulation.model)
        infos = {stream.name: self._camera_info(cameras, stream) for stream in self._table}
        # All cameras of the table are triggered together, at the rate of the fastest.
        period_s = min(stream.period_s for stream in self._table) / self._factor
        due = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                self._note_lag(time.monotonic() - due)
                # Half as many while the machine cannot keep up.
                step_s = period_s * (2 if CAMERA_RATE in self._load.shed else 1)
                due = max(due + step_s, time.monotonic())
                self._shoot(cameras, data, infos)
        finally:
            cameras.close()

    def _shoot(self, cameras: Cameras, data, infos: dict[str, CameraInfo]) -> None:
        with self._simulation.lock:
            self._simulation.snapshot(data)
            stamp = self._stamp()
            time_s = self._clock_offset_s + self._simulation.time_s
            poses = self._simulation.object_poses()
            # Judged and kept under one lock: a reset in between must not inherit the verdict.
            was_solved, self._solved = self._solved, self._simulation.success()
            changed = was_solved != self._solved
        names = [stream.name for stream in self._table if stream.name not in self._dead]
        for name, frame in cameras.render(data, names, time_s).items():
            header = Header(stamp=stamp, frame_id=self._table[name].frame_id)
            image, info = self._images[name]
            # Whoever wants one can have it; making and sending what nobody reads costs as much.
            if image.get_subscription_count():
                image.publish(raw_image(self._bridge, self._table[name].kind, frame, header))
            if info.get_subscription_count():
                infos[name].header = header
                info.publish(infos[name])
        if self._objects.get_subscription_count():
            self._objects.publish(self._markers(poses, stamp))
        if changed:
            self._publish_result()

    def _camera_info(self, cameras: Cameras, stream: Stream) -> CameraInfo:
        fx, fy, cx, cy = (float(value) for value in cameras.intrinsics(stream.name))
        return CameraInfo(
            height=stream.height,
            width=stream.width,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
            r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        )

    def _colour(self, name: str) -> ColorRGBA:
        model = self._simulation.model
        r, g, b, a = model.mat_rgba[model.geom_matid[model.geom(name).id]].tolist()
        return ColorRGBA(r=r, g=g, b=b, a=a)

    def _markers(self, poses: dict[str, np.ndarray], stamp: Time) -> MarkerArray:
        markers = []
        for name, pose in poses.items():
            x, y, z, qw, qx, qy, qz = (float(value) for value in pose)
            shape = SHAPES[name]
            marker = Marker(
                header=Header(stamp=stamp, frame_id="base_link"),
                ns=name,
                type=Marker.CYLINDER if shape.round else Marker.CUBE,
                color=self._colours[name],
            )
            marker.scale.x, marker.scale.y, marker.scale.z = (2.0 * half for half in shape.half)
            marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = x, y, z
            marker.pose.orientation.w, marker.pose.orientation.x = qw, qx
            marker.pose.orientation.y, marker.pose.orientation.z = qy, qz
            markers.append(marker)
        return MarkerArray(markers=markers)


def main() -> int:
    return run(SimNode)
