"""What the bring-up starts in each world, and with which arguments."""

import runpy
from itertools import pairwise
from pathlib import Path

import launch.actions
import launch.launch_description_sources
import launch_ros.actions
import pytest
from launch import LaunchContext

ROOT = Path(__file__).parents[1]
BRINGUP = ROOT / "launch" / "bringup.launch.py"
LIBERO_TASK = "pick up the alphabet soup and place it in the basket"


def text(context, word) -> str:
    if isinstance(word, list | tuple):
        return "".join(text(context, part) for part in word)
    return word if isinstance(word, str) else word.perform(context)


class Launched:
    """The nodes of a bring-up, which are not started, and its arguments.

    Attributes:
        nodes: executable -> its name, parameter files and given parameters; a container's is the
            words of its command.
        included: launch file -> the arguments that it is given.
    """

    def __init__(self, monkeypatch, **given: str) -> None:
        self.nodes: dict[str, dict] = {}
        monkeypatch.setattr(launch_ros.actions, "Node", lambda **made: self._Node(self.nodes, made))
        self.included: dict[str, dict[str, str]] = {}
        monkeypatch.setattr(
            launch.actions,
            "IncludeLaunchDescription",
            lambda path, **made: self._Include(self.included, path, made),
        )
        sources = launch.launch_description_sources
        monkeypatch.setattr(sources, "PythonLaunchDescriptionSource", lambda path: path)
        monkeypatch.setenv("ROS_DOMAIN_ID", "7")
        context = LaunchContext()
        context.launch_configurations.update(given)
        description = runpy.run_path(str(BRINGUP))["generate_launch_description"]()
        self._visit(context, description.entities)
        self.arguments = dict(context.launch_configurations)

    class _Include:
        def __init__(self, included: dict, path, made: dict) -> None:
            self.included, self.path, self.condition = included, path, made.get("condition")
            self.given = made.get("launch_arguments", ())

        def execute(self, context) -> None:
            given = {name: text(context, value) for name, value in self.given}
            self.included[Path(text(context, self.path)).name] = given

    class _Node:
        def __init__(self, nodes: dict, made: dict) -> None:
            self.nodes, self.made, self.condition = nodes, made, made.pop("condition", None)

        def execute(self, context) -> None:
            files, parameters = [], {}
            for item in self.made.get("parameters", ()):
                if isinstance(item, dict):
                    given = {key: getattr(v, "value", v) for key, v in item.items()}
                    parameters |= {key: text(context, v) for key, v in given.items()}
                else:
                    files.append(item.perform(context))
            self.nodes[self.made["executable"]] = {
                "name": self.made.get("name"),
                "files": files,
                "parameters": parameters,
                "words": [text(context, word) for word in self.made.get("arguments", ())],
                "remappings": {
                    text(context, a): text(context, b) for a, b in self.made.get("remappings", ())
                },
            }

    def _visit(self, context, entities) -> None:
        for entity in entities or ():
            if type(entity).__name__ == "ExecuteProcess":
                continue
            if entity.condition is None or entity.condition.evaluate(context):
                self._visit(context, entity.execute(context))


@pytest.fixture
def launched(monkeypatch):
    return lambda **given: Launched(monkeypatch, **given)


def words_of(words: list[str], node: str) -> list[list[str]]:
    """What a container is told of its nodes of this kind."""
    starts = [i for i, word in enumerate(words) if word == "--node"] + [len(words)]
    parts = [words[a:b] for a, b in pairwise(starts)]
    return [part for part in parts if part[1] == node]


def test_the_tabletop_is_what_it_was(launched):
    bringup = launched()
    assert {"sim_node", "so101_driver", "policy_node", "sensor_container"} == set(bringup.nodes)
    assert bringup.arguments["policy"] == "small"
    assert bringup.arguments["use_sim_time"] == "false"
    assert bringup.arguments["pose_check"] == "simulation"
    (file,) = bringup.nodes["policy_node"]["files"]
    assert file.endswith("config/policy_node.yaml")
    words = bringup.nodes["sensor_container"]["words"]
    scene, wrist = words_of(words, "rgb_node")
    assert "stream:=rgb" in scene and not any(word.startswith("__ns:=") for word in scene)
    assert "stream:=wrist/rgb" in wrist and "__ns:=/wrist" in wrist


def test_libero_has_its_own_robot_configuration_and_views(launched):
    bringup = launched(world="libero")
    assert {"libero_node", "policy_node", "sensor_container"} == set(bringup.nodes)
    simulator, policy = bringup.nodes["libero_node"], bringup.nodes["policy_node"]
    assert simulator["name"] == "sim_node"
    assert simulator["files"][0].endswith("config/libero/libero_node.yaml")
    assert policy["files"][0].endswith("config/libero/policy_node.yaml")
    assert Path(policy["files"][0]).is_file()
    assert policy["parameters"]["chunk_entry"] == "stamp"
    assert policy["parameters"]["pose_check"] == "none"
    assert policy["parameters"]["policy"] == "small-libero"
    for node in (simulator, policy):
        assert node["parameters"]["task"] == LIBERO_TASK
        assert node["parameters"]["streams_file"].endswith("config/libero/streams.yaml")
    words = bringup.nodes["sensor_container"]["words"]
    for kind in ("rgb", "depth", "thermal", "segmentation"):
        nodes = words_of(words, f"{kind}_node")
        for view, part in zip(("agentview", "wrist"), nodes, strict=True):
            assert f"__ns:=/{view}" in part and f"stream:={view}/{kind}" in part
            assert f"{kind}/image_raw:={kind}/image_raw" in part
    labellers = words_of(words, "segmentation_node")
    for part in labellers:
        assert "backend:=network" in part
        assert any(word.endswith("config/libero/segmentation_node.yaml") for word in part)
    assert bringup.arguments["use_sim_time"] == "true"


def test_the_injector_of_libero_stands_between_its_cameras_and_nodes(launched):
    bringup = launched(world="libero", faults="live", rgb_topic="/mine")
    remappings = bringup.nodes["fault_injector"]["remappings"]
    assert remappings["agentview/rgb/image_raw"] == "/mine"
    assert remappings["agentview/depth/image_raw"] == "agentview/depth/image_raw"
    assert remappings["wrist/rgb/image_raw"] == "wrist/rgb/image_raw"
    words = bringup.nodes["sensor_container"]["words"]
    assert words.count("rgb/image_raw:=rgb/faulty/image_raw") == 2


def test_each_sensor_node_of_its_own_and_no_wrist(launched):
    bringup = launched(world="libero", composition="nodes", wrist="false")
    for kind in ("rgb", "depth", "thermal", "segmentation"):
        assert bringup.nodes[f"{kind}_node"]["parameters"]["stream"] == f"agentview/{kind}"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"sim": "false"}, "world:=libero is a simulation"),
        ({"monitor": "web"}, "monitor:=web shows an SO-101"),
        ({"rviz": "true"}, "monitor:=rviz shows an SO-101"),
    ],
)
def test_what_libero_lacks_is_refused_in_one_line(launched, given, complaint):
    with pytest.raises(RuntimeError, match=complaint) as error:
        launched(world="libero", **given)
    assert "\n" not in str(error.value)
    assert launched(world="tabletop", **given).nodes


def test_on_the_host_of_the_policy_nothing_is_simulated(launched):
    bringup = launched(world="libero", part="policy", sim="false")
    assert set(bringup.nodes) == {"policy_node"}


def test_the_frames_come_with_the_robot_and_once(launched):
    assert launched().included.keys() == {"frames.launch.py"}
    monitored = launched(monitor="topics").included
    assert monitored.keys() == {"frames.launch.py", "monitor.launch.py"}
    # They are there already.
    assert monitored["monitor.launch.py"]["tf"] == "false"
    assert "frames.launch.py" in launched(part="replay").included
    for given in ({"tf": "false"}, {"part": "policy"}, {"world": "libero"}):
        assert not launched(**given).included, given
