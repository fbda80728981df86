"""Small recordings as a recorder of ROS 2 leaves them, of cameras that look at living scenes."""

import json

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from multismolvla.data import bag_messages as messages
from multismolvla.embodiment.so101 import SO101

EPOCH_NS = 1_760_000_000 * 10**9
CAMERA_MS = 1000 / 15


def at(time_ms):
    """Nanoseconds of an instant, counted from the beginning of the recordings."""
    return EPOCH_NS + round(time_ms * 1e6)


def write_recording(folder, entries, zero_ns=EPOCH_NS, chunk=0):
    """Entries (time in ms, topic, type, bytes) as a bag; returns its folder.

    Args:
        zero_ns: the recorder's time at 0 ms.
        chunk: messages that are flushed to the disk together, 0 for all.
    """
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        channels = {}
        rising = sorted(entries, key=lambda entry: entry[0])
        for number, (time_ms, topic, kind, data) in enumerate(rising, 1):
            if topic not in channels:
                channels[topic] = writer.add_connection(topic, kind, typestore=messages.typestore())
            writer.write(channels[topic], zero_ns + round(time_ms * 1e6), data)
            if chunk and number % chunk == 0:
                writer.storage.close_chunk()
    return folder


def scene(kind, number, height=48, width=48):
    """A raw frame of a scene that nothing is wrong with; no two numbers give the same.

    rgb (H, W, 3) uint8; depth (H, W) uint16 millimetres; thermal (H, W) uint16 centikelvin;
    segmentation (H, W) uint8.
    """
    rng = np.random.default_rng(7)
    channels = (3,) if kind == "rgb" else ()
    patches = rng.integers(0, 8, (6, 6, *channels)).astype(np.float32)
    patches = cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR)
    if kind == "segmentation":
        return np.roll(patches.astype(np.uint8), number, axis=1)
    noise = np.random.default_rng(number).normal(0.0, 1.0, patches.shape)
    if kind == "rgb":
        return np.clip(40 + 20 * patches + noise, 0, 255).astype(np.uint8)
    if kind == "depth":
        return (500 + 40 * patches + noise).astype(np.uint16)
    return (29_500 + 100 * patches + 4 * noise).astype(np.uint16)


def image(stamp_ms, frame, encoding=None, kind="rgb"):
    """A frame as a serialised Image."""
    names = {np.dtype(np.uint16): "16UC1", np.dtype(np.float32): "32FC1"}
    encoding = encoding or names.get(frame.dtype, "rgb8" if frame.ndim == 3 else "mono8")
    step = frame[0].nbytes
    data = np.ascontiguousarray(frame).reshape(-1).view(np.uint8)
    made = messages.typestore().types[messages.IMAGE](
        messages.header(at(stamp_ms)), *frame.shape[:2], encoding, 0, step, data
    )
    return messages.serialize(made, messages.IMAGE)


def png(stamp_ms, frame):
    """A frame as a serialised CompressedImage."""
    shown = frame[:, :, ::-1] if frame.ndim == 3 else frame
    made = messages.typestore().types[messages.COMPRESSED_IMAGE](
        messages.header(at(stamp_ms)), "png", cv2.imencode(".png", shown)[1].reshape(-1)
    )
    return messages.serialize(made, messages.COMPRESSED_IMAGE)


def status(time_ms, state, name="rgb", **more):
    """A stream's status, or with other values that of another node."""
    values = {"state": state, "reason": "", "rate_hz": "15.00", "age_s": "0.010", "frames": "9"}
    values |= more
    types = messages.typestore().types
    pairs = [types["diagnostic_msgs/msg/KeyValue"](k, str(v)) for k, v in values.items()]
    one = types["diagnostic_msgs/msg/DiagnosticStatus"](0, name, "", "", pairs)
    made = types[messages.STATUS](messages.header(at(time_ms)), [one])
    return messages.serialize(made, messages.STATUS)


def info(launch_arguments=None, **parameters):
    """What `recording_info` publishes: parameters by full name of a node."""
    told = {"git_revision": "x", "launch_arguments": launch_arguments or {}}
    return messages.text(json.dumps({**told, "parameters": parameters}))


def camera(topic, kind, count=24, start_ms=10.0, lag_ms=20.0, frames=None, encode=image):
    """Entries of a camera at 15 Hz whose messages come `lag_ms` after their stamps.

    Args:
        frames: number -> the raw frame, or None for a message that does not come.
    """
    of = frames or (lambda number: scene(kind, number))
    type_name = messages.COMPRESSED_IMAGE if encode is png else messages.IMAGE
    shots = [(start_ms + number * CAMERA_MS, of(number)) for number in range(count)]
    return [
        (shot_ms + lag_ms, topic, type_name, encode(shot_ms, frame))
        for shot_ms, frame in shots
        if frame is not None
    ]


def arm(prefix="", lasts_ms=1600, task="wave", command_ms=5.0):
    """Entries of a task, of joints at 100 Hz that move 1 rad/s, and of one command."""
    ramp = np.linspace(0.0, 0.5, 16)[:, None] * np.ones(6)
    points = messages.trajectory(
        at(command_ms), SO101.joint_names, np.arange(16) * 33_333_333, ramp
    )
    found = [
        (0.0, f"{prefix}/task", messages.STRING, messages.text(task)),
        (command_ms, f"{prefix}/joint_trajectory", messages.TRAJECTORY, points),
    ]
    for time_ms in range(0, lasts_ms + 1, 10):
        state = messages.joint_state(at(time_ms), SO101.joint_names, np.full(6, time_ms * 1e-3))
        found.append((float(time_ms), f"{prefix}/joint_states", messages.JOINT_STATE, state))
    return found
