"""What installs the package is true: package.xml, setup.py, requirements, containers."""

import ast
import importlib
import re
import runpy
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools
import yaml

ROOT = Path(__file__).parents[1]

# Import name -> rosdep key where the two differ. None: rosdep has no usable key on Ubuntu 24.04, so
# requirements/ros.txt installs it.
ROSDEP_KEYS = {
    "transformers": None,
    "cv2": "python3-opencv",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "rich": "python3-rich",
    "serial": "python3-serial",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
    **dict.fromkeys(("av", "mcap", "mujoco", "pydantic", "rosbags", "torch")),
    **dict.fromkeys(
        ("accelerate", "huggingface_hub", "peft", "pyarrow", "safetensors", "tokenizers")
    ),
}
# Not installed by default: web.txt holds it with what it needs.
OPTIONAL = {"viser"}


@pytest.fixture(scope="module")
def package_xml():
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def setup_arguments(tmp_path_factory):
    """The arguments that setup.py gives to setup()."""
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def imported_packages(folder: Path) -> set[str]:
    """Top-level names imported in the folder, without the standard library and this package."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"multismolvla"}


def requirements(file: Path) -> Iterator[str]:
    """The lines of a requirements file and of those it includes, without comments."""
    for line in file.read_text().splitlines():
        if line.startswith("-r "):
            yield from requirements(file.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            yield line


def pinned(name: str) -> set[str]:
    lines = requirements(ROOT / "requirements" / name)
    return {re.split(r"[\[=<>;]", line)[0].lower() for line in lines}


def test_package_xml_is_format_3_with_unique_dependencies(package_xml):
    assert package_xml.get("format") == "3"
    assert package_xml.findtext("export/build_type") == "ament_python"
    keys = [tag.text for tag in package_xml if tag.tag.endswith("depend")]
    assert len(keys) == len(set(keys))


def test_package_xml_agrees_with_setup_py(package_xml, setup_arguments):
    for tag, argument in (
        ("name", "name"),
        ("version", "version"),
        ("license", "license"),
        ("maintainer", "maintainer"),
    ):
        assert package_xml.findtext(tag) == setup_arguments[argument]
    assert package_xml.find("maintainer").get("email") == setup_arguments["maintainer_email"]


def test_every_import_is_declared(package_xml):
    declared = {tag.text for tag in package_xml if tag.tag in ("depend", "exec_depend")}
    for folder in (ROOT / "src" / "multismolvla", ROOT / "launch"):
        for name in imported_packages(folder):
            key = ROSDEP_KEYS.get(name, name)
            if name in OPTIONAL:
                assert name in pinned("web.txt"), f"{name}: web.txt"
            elif key is None:
                assert name in pinned("ros.txt"), f"{name}: ros.txt"
            else:
                assert key in declared, f"{folder} imports {name}: package.xml lacks {key}"


# Import name -> distribution where the two differ.
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "serial": "pyserial", "yaml": "pyyaml"}


def test_pip_installs_what_is_imported_and_not_part_of_ros(package_xml, setup_arguments):
    ros = {tag.text for tag in package_xml if tag.tag == "exec_depend"}
    required = {re.split(r"[<>=]", line)[0].lower() for line in setup_arguments["install_requires"]}
    imported = imported_packages(ROOT / "src" / "multismolvla") - ros - OPTIONAL
    assert required == {DISTRIBUTIONS.get(name, name) for name in imported}


def test_launch_files_name_only_declared_packages(package_xml):
    declared = {tag.text for tag in package_xml} | {package_xml.findtext("name")}
    for path in (ROOT / "launch").glob("*.launch.py"):
        for name in re.findall(r"""package=["'](\w+)["']""", path.read_text()):
            assert name in declared, f"{path} starts a node of {name}"


def test_entry_points_resolve(setup_arguments):
    for group, entries in setup_arguments["entry_points"].items():
        for entry in entries:
            name, _, target = entry.partition(" = ")
            module, _, attribute = target.partition(":")
            assert hasattr(importlib.import_module(module), attribute), f"{group}: {name}"


def test_data_files_exist_and_hold_every_launch_config_and_urdf_file(setup_arguments):
    installed = {file for _, files in setup_arguments["data_files"] for file in files}
    for file in installed:
        assert (ROOT / file).is_file(), f"setup.py lists {file}"
    for folder in ("launch", "config", "urdf"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert str(path.relative_to(ROOT)) in installed, f"setup.py leaves out {path}"


def test_package_data_holds_every_file_that_is_not_python(setup_arguments):
    package = ROOT / "src" / "multismolvla"
    covered = {
        path
        for pattern in setup_arguments["package_data"]["multismolvla"]
        for path in package.glob(pattern)
    }
    for path in package.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert path in covered, f"setup.py leaves out {path}"


def test_colcon_meta_names_an_installed_hook(setup_arguments):
    hooks = yaml.safe_load((ROOT / "colcon.meta").read_text())["names"]["multismolvla"]["hooks"]
    installed = {
        f"{folder}/{Path(file).name}"
        for folder, files in setup_arguments["data_files"]
        for file in files
    }
    assert set(hooks) <= installed
    for name in ("fastdds.dsv",):
        _, variable, path = (ROOT / "resource" / name).read_text().strip().split(";")
        assert variable == "FASTRTPS_DEFAULT_PROFILES_FILE"
        assert path in installed


def test_every_requirement_of_the_portable_path_is_pinned_to_one_version():
    for name in ("portable.txt", "test.txt", "web.txt"):
        for line in requirements(ROOT / "requirements" / name):
            assert "==" in line, f"{name}: {line}"
    assert pinned("ros.txt") <= pinned("portable.txt")


def declared_launch_arguments() -> dict[str, str]:
    """Name -> description of every argument that the bring-up declares."""
    from launch.actions import DeclareLaunchArgument

    namespace = runpy.run_path(str(ROOT / "launch" / "bringup.launch.py"))
    entities = namespace["generate_launch_description"]().entities
    return {e.name: e.description for e in entities if isinstance(e, DeclareLaunchArgument)}


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({}, "_7/so101"),
        ({"namespace": "/left"}, "_7/left/so101"),
        ({"namespace": "desk/left"}, "_7/desk/left/so101"),
        ({"sim": "false"}, "/dev/ttyACM0"),
        ({"robot_port": "/dev/arm"}, "/dev/arm"),
    ],
)
def test_every_stack_on_a_machine_has_its_own_simulated_port(monkeypatch, given, port):
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert launched_with(given)["robot_port"].endswith(port)


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ({}, "put the red cube in the bin"),
        ({"sim": "false"}, ""),
        (
            {"sim": "false", "task": "put the green brick in the bin"},
            "put the green brick in the bin",
        ),
    ],
)
def test_a_real_arm_waits_for_an_instruction(given, task):
    assert launched_with(given)["task"].strip() == task


@pytest.mark.parametrize(
    ("given", "monitor"),
    [
        ({}, "none"),
        ({"rviz": "true"}, "rviz"),
        ({"monitor": "topics"}, "topics"),
        ({"monitor": "web"}, "web"),
        ({"rviz": "true", "monitor": "topics"}, "topics"),
    ],
)
def test_rviz_is_one_of_the_monitors(given, monitor):
    assert launched_with(given)["monitor"] == monitor


def launched_with(given: dict[str, str]) -> dict[str, str]:
    """Every launch argument with its value, where these are given."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument

    namespace = runpy.run_path(str(ROOT / "launch" / "bringup.launch.py"))
    context = LaunchContext()
    context.launch_configurations.update(given)
    # In their order: a default may name only arguments that come before it.
    for entity in namespace["generate_launch_description"]().entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
    return dict(context.launch_configurations)


def test_the_instructions_in_the_documents_are_known():
    from multismolvla.sim.tasks import find_task

    documents = [ROOT / "README.md", ROOT / "docker" / "compose.yaml", *ROOT.glob("docs/**/*.md")]
    told = {
        instruction
        for path in documents
        # Commands and tables; prose may speak of tasks as it likes.
        for instruction in re.findall(r'[":`-] ?(put the [a-z ]+)["}`]', path.read_text())
    }
    assert told
    for instruction in told:
        find_task(instruction)


def test_every_launch_argument_is_described():
    arguments = declared_launch_arguments()
    assert arguments
    for name, description in arguments.items():
        assert description and description != "no description given", name
        # launch itself adds the choices behind the sentence.
        sentence = description.partition(" Valid choices are:")[0]
        assert sentence[0].isupper() and sentence.endswith("."), f"{name}: {description}"


def test_the_changelog_is_one_that_catkin_pkg_reads():
    """REP-132: the package's name in the title, and versions with dates; others are not entries."""
    lines = (ROOT / "CHANGELOG.rst").read_text().splitlines()
    assert lines[1] == "Changelog for package multismolvla"
    titles = [text for text, under in pairwise(lines) if under and set(under) == {"-"}]
    assert titles
    for title in titles:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)|Forthcoming", title), title
    parser = pytest.importorskip("catkin_pkg.changelog", reason="comes with ROS 2")
    found = list(parser.get_changelog_from_path(str(ROOT)).foreach_version())
    assert found and all(content for _, _, content in found)


def test_the_containers_give_arguments_that_the_bring_up_knows():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    for service, options in services.items():
        command = options["command"]
        words = command.split() if isinstance(command, str) else command
        given = {word.partition(":=")[0]: word.partition(":=")[2] for word in words if ":=" in word}
        assert given.keys() <= declared_launch_arguments().keys(), service
        # ros2 launch refuses `name:=` without a value.
        assert all(given.values()), service


def test_the_dockerfile_copies_what_setup_py_installs():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    sources = {source for line in copied for source in line.split()}
    for source in sources:
        assert (ROOT / source).exists(), source
    needed = {"setup.py", "setup.cfg", "package.xml", "resource", "launch", "config"}
    assert needed | {"src/multismolvla"} <= sources
