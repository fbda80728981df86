"""The layering that DESIGN promises, read from the imports of every file."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "multismolvla"
PORTABLE = ROOT / "packages" / "ros2_portable"

SHARED = {"streams", "modalities", "embodiment", "interfaces", "argument_types"}
SHARED |= {"priority", "setting", "processor", "shared_memory", "checked_file"}
SHARED |= {"doctor", "markdown", "one_line", "worker_pool"}
CORES = {"control", "sensing", "faults", "monitoring", "robot", "sim", "segmentation", "policy"}
CORES |= {"data", "pose_check", "pictures"}
# Part -> the parts of this package it may import beside itself and SHARED. A part that is not
# listed is the edge of the program (nodes, the command line) and may import everything.
MAY_IMPORT = {
    **{part: set() for part in CORES | SHARED},
    # Damage is made on frames and messages as the sensing knows them.
    "faults": {"sensing"},
    # The reader of recordings knows what was recorded: units, faults, the pose check's stream.
    "data": {"sensing", "faults", "pose_check"},
    "stack": CORES,
    "evaluation": CORES | {"stack"},
    "replay": CORES | {"stack"},
    "training": CORES | {"stack"},
    "web": {"monitoring"},
}
# Part -> everything it may import from outside the standard library.
LIGHT = {
    "control": {"numpy"},
    "sensing": {"numpy", "cv2"},
    "faults": {"numpy", "cv2"},
    "checked_file": {"pydantic", "yaml"},
    "monitoring": {"numpy"},
    "pose_check": {"numpy", "cv2", "safetensors"},
    "web": {"numpy", "viser"},
    "modalities": {"numpy", "cv2"},
    "embodiment": {"numpy"},
    "priority": set(),
    "setting": set(),
    "processor": set(),
    "shared_memory": set(),
}

# They are handed an arm, whichever it is.
KNOW_NO_ARM = {"control", "sensing", "faults", "policy", "data", "monitoring", "pose_check"}

ROS_LIBRARIES = {"ament_index_python", "builtin_interfaces", "cv_bridge", "launch", "launch_ros"}
ROS_LIBRARIES |= {"message_filters", "rcl_interfaces", "rclpy", "ros2cli", "rosidl_runtime_py"}
EXPECTED_NAMES = {"launch", "launch_ros", "message_filters", "cv_bridge", "ros2cli"}
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "egg-info" not in str(path))


def imported_names(path: Path) -> Iterator[str]:
    """Full dotted name of every module that the file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; name the whole module"
            yield node.module
            # `from multismolvla import streams` imports a module by its last name.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """`control` for control/action_queue.py, `streams` for streams.py."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def is_ros(module: str) -> bool:
    top = module.partition(".")[0]
    return top in ROS_LIBRARIES or top.endswith(("_msgs", "_srvs"))


def test_the_parts_know_only_what_the_layering_allows():
    parts = {part_of(path) for path in python_files(PACKAGE)}
    violations = []
    for path in python_files(PACKAGE):
        part = part_of(path)
        if part not in MAY_IMPORT:
            continue
        allowed = {part} | SHARED | MAY_IMPORT[part]
        for name in imported_names(path):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if package == "multismolvla" and target in parts - allowed:
                violations.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not violations, "\n".join(violations)


def test_the_drawing_of_the_architecture_shows_the_layering():
    """Every part is on one floor of docs/architecture.md, above all that it may import."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawing = page.partition("## What may import what")[2].split("```")[1]
    floors = {
        part: -height
        for height, floor in enumerate(re.split(r"─+", drawing))
        for line in floor.splitlines()
        # Two spaces part the names; what stands further right explains the floor.
        for part in re.split(r" {4,}", line)[0].split()
    }
    parts = {part_of(path) for path in python_files(PACKAGE)} - {"__init__"}
    assert floors.keys() == parts, f"not drawn or gone: {floors.keys() ^ parts}"
    for part, may_import in MAY_IMPORT.items():
        for lower in may_import | (SHARED - {part} if part not in SHARED else set()):
            assert floors[lower] < floors[part], f"{part} may import {lower}; draw it above"


def test_the_cores_are_handed_an_arm_and_import_none():
    violations = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(PACKAGE)
        if part_of(path) in KNOW_NO_ARM
        for name in imported_names(path)
        if name.startswith("multismolvla.embodiment.so101")
    ]
    assert not violations, "\n".join(violations)


def test_only_the_nodes_know_ros():
    violations = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(PACKAGE)
        if part_of(path) != "nodes"
        for name in imported_names(path)
        if is_ros(name)
    ]
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("part", sorted(LIGHT))
def test_a_light_part_needs_nothing_heavy(part):
    allowed = LIGHT[part] | {"multismolvla"} | set(sys.stdlib_module_names)
    violations = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(PACKAGE)
        if part_of(path) == part
        for name in imported_names(path)
        if name.partition(".")[0] not in allowed
    ]
    assert not violations, "\n".join(violations)


def test_the_stand_ins_are_used_only_under_the_upstream_names():
    assert (PORTABLE / "COLCON_IGNORE").exists()
    packages = {path.parent.name for path in PORTABLE.glob("src/*/__init__.py")}
    assert packages <= EXPECTED_NAMES
    for folder in (PACKAGE, ROOT / "launch"):
        for path in python_files(folder):
            assert "ros2_portable" not in path.read_text(), f"{path} knows about the stand-ins"


def code_lines(path: Path) -> int:
    """Lines of a file that are neither blank nor comments nor parts of docstrings."""
    text = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        number not in docstrings and line.strip() != "" and not line.lstrip().startswith("#")
        for number, line in enumerate(text.splitlines(), 1)
    )


def test_the_stand_ins_stay_small():
    assert sum(code_lines(path) for path in python_files(PORTABLE / "src")) < 2000


def test_a_node_is_parameters_topics_and_threads_around_the_stack():
    for path in python_files(PACKAGE / "nodes"):
        lines = len(path.read_text().splitlines())
        assert lines <= 200, f"{path} has {lines} lines: some core is hiding in it"


def test_every_module_is_named_for_what_it_holds():
    for folder in (PACKAGE, PORTABLE, ROOT / "benchmarks", ROOT / "tests"):
        for path in folder.rglob("*.py"):
            assert path.stem not in VAGUE_NAMES, f"{path}: name it for the one thing it holds"
