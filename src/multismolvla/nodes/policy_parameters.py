"""The parameters of the policy node, declared and checked."""

from __future__ import annotations

from dataclasses import dataclass

from ament_index_python.packages import get_package_share_directory
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from multismolvla.control.action_queue import ENTRIES, STRATEGIES
from multismolvla.control.inference import parse_threshold
from multismolvla.nodes.parameters import ParameterError, declare, reject_unknown
from multismolvla.nodes.policy_loading import CHUNKINGS, PRECISIONS


@dataclass(frozen=True)
class PolicyParameters:
    """Values as docs/nodes/policy_node.md describes them; `queue_threshold` is None for auto."""

    policy: str
    policy_device: str
    policy_threads: int
    policy_seed: int
    policy_noise: float
    policy_cameras: str
    policy_chunking: str
    policy_precision: str
    task: str
    streams_file: str
    control_rate_hz: float
    queue_threshold: float | None
    chunk_entry: str
    merge: str
    crossfade_s: float
    observation_tolerance_rad: float
    min_visual_streams: int
    slop_s: float
    max_wait_s: float
    max_set_age_s: float
    joint_states_timeout_s: float
    pose_check: str
    look_ahead_points: int
    realtime: bool


def declare_policy_parameters(node: Node) -> PolicyParameters:
    """Declare every parameter and return the values; nothing can be changed after start.

    Raises:
        ValueError: a value is wrong or a key unknown; one line.
    """

    def text(name, default, description, choices=None):
        return declare(node, name, default, description, choices=choices, read_only=True)

    def number(name, default, minimum, maximum, description):
        return declare(
            node, name, default, description, minimum=minimum, maximum=maximum, read_only=True
        )

    share = get_package_share_directory("multismolvla")
    # A string or a number: `declare` knows one type per parameter.
    threshold = ParameterDescriptor(
        description="Fraction of a chunk below which the next inference starts, in (0, 1]; "
        "'auto' derives it from the measured latency.",
        read_only=True,
        dynamic_typing=True,
    )
    parameters = PolicyParameters(
        policy=text(
            "policy",
            "small",
            "Name of an installed or shipped policy, folder of a checkpoint, hub id owner/name, or "
            "module:Class.",
        ),
        policy_device=text(
            "policy_device",
            "auto",
            "Where a checkpoint runs; auto takes the GPU if there is one.",
            ("auto", "cpu", "cuda"),
        ),
        policy_threads=number(
            "policy_threads",
            0,
            0,
            256,
            "Threads of a checkpoint's sums; 0 takes two where they are clearly faster than one.",
        ),
        policy_seed=number(
            "policy_seed",
            -1,
            -1,
            2**31 - 1,
            "Seed of a checkpoint's noise, the same chunks each time; -1 draws new noise.",
        ),
        policy_noise=number(
            "policy_noise",
            0.0,
            0.0,
            2.0,
            "Scale of a checkpoint's noise; 1 as in training, 0 for chunks that agree.",
        ),
        policy_cameras=text(
            "policy_cameras",
            "",
            "Streams for the cameras of a LeRobot checkpoint: camera1=rgb,camera2=wrist/rgb.",
        ),
        policy_chunking=text(
            "policy_chunking",
            "none",
            "rtc has each chunk of a checkpoint continue the one being executed.",
            CHUNKINGS,
        ),
        policy_precision=text(
            "policy_precision",
            "auto",
            "Arithmetic of a checkpoint; auto takes the fastest that gives float32's actions "
            "within 1 % on this processor.",
            ("auto", *PRECISIONS),
        ),
        task=text("task", "", "Instruction to start with; empty waits for the topic `task`."),
        streams_file=text("streams_file", f"{share}/config/streams.yaml", "Stream table."),
        control_rate_hz=number("control_rate_hz", 50.0, 1.0, 200.0, "Ticks per second."),
        queue_threshold=parse_threshold(
            node.declare_parameter("queue_threshold", 0.7, threshold).value
        ),
        chunk_entry=text(
            "chunk_entry", "nearest", "At which row a new chunk is entered.", tuple(ENTRIES)
        ),
        merge=text("merge", "crossfade", "How a new chunk meets the queued one.", STRATEGIES),
        crossfade_s=number("crossfade_s", 0.2, 0.01, 5.0, "Duration of the crossfade, seconds."),
        observation_tolerance_rad=number(
            "observation_tolerance_rad",
            0.02,
            0.0,
            1.0,
            "Joint difference within which an unchanged scene is not inferred again, radians; "
            "0 infers every time.",
        ),
        min_visual_streams=number(
            "min_visual_streams", 1, 0, 64, "Streams that must be available for the arm to move."
        ),
        slop_s=number(
            "slop_s", 0.03, 0.001, 1.0, "Largest distance of an image from its set, seconds."
        ),
        max_wait_s=number(
            "max_wait_s", 0.1, 0.0, 1.0, "Wait of a set for a healthy stream's image, seconds."
        ),
        max_set_age_s=number(
            "max_set_age_s", 0.5, 0.05, 5.0, "Age at which the newest images count for nothing."
        ),
        joint_states_timeout_s=number(
            "joint_states_timeout_s", 0.5, 0.05, 5.0, "Age of joint_states at which the arm holds."
        ),
        pose_check=text(
            "pose_check",
            "none",
            "Masks images that do not fit the joints: none, simulation, or a file of weights.",
        ),
        realtime=declare(
            node,
            "realtime",
            True,
            "Run the control loop with real-time priority and locked memory where granted.",
            read_only=True,
        ),
        look_ahead_points=number(
            "look_ahead_points", 5, 1, 50, "Points per message, one control period apart."
        ),
    )
    if parameters.policy_chunking != "none" and parameters.chunk_entry != "stamp":
        raise ParameterError(
            f"policy_chunking is '{parameters.policy_chunking}', which continues the last chunk by "
            f"its stamp, and chunk_entry is '{parameters.chunk_entry}'; expected 'stamp'"
        )
    reject_unknown(node)
    return parameters
