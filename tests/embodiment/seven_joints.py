"""An arm with seven joints, as a person would write it."""

import yaml

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.embodiment_file import load_embodiment


def described() -> dict:
    """Seven joints in a chain, as a person would write them."""
    speeds = {"max_velocity_rad_s": 2.0, "max_acceleration_rad_s2": 15.0}
    joints = [
        {"name": f"joint{i}", "lower_rad": -2.5, "upper_rad": 2.5, "home_rad": 0.1 * i} | speeds
        for i in range(6)
    ]
    joints.append({"name": "fingers", "lower_rad": 0.0, "upper_rad": 0.8} | speeds)
    axes = [[0, 0, 1], [0, 1, 0]] * 3
    links = [{"xyz": [0.0, 0.0, 0.1], "rpy": [0.2, 0.1, 0.0], "axis": axis} for axis in axes]
    return {
        "name": "seven",
        "joints": joints,
        "grippers": [{"joint": "fingers", "closed_rad": 0.0, "open_rad": 0.8}],
        "kinematics": [*links, {"xyz": [0.0, 0.0, 0.05], "axis": None}],
    }


def load(folder, content) -> Embodiment:
    path = folder / "arm.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_embodiment(path)
