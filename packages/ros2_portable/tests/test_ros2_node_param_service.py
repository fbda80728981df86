"""ros2 node, param and service against a live node, and what the command does not have."""

import pytest
from ros2_background import background_node
from ros2cli import graph
from ros2cli.cli import main
from std_srvs.srv import SetBool


@pytest.fixture(scope="module")
def arm():
    """A node with parameters and a service."""
    with background_node("arm") as node:
        node.declare_parameter("gain", 1.5)
        node.declare_parameter("enabled", True)
        node.declare_parameter("joints", ["pan", "lift"])

        def torque(request, response):
            response.success, response.message = request.data, "done"
            return response

        node.create_service(SetBool, "arm/torque", torque)
        yield node


def test_node_list(arm, capsys):
    assert main(["node", "list"]) == 0
    assert "/arm" in capsys.readouterr().out.splitlines()


def test_param_list(arm, capsys):
    assert main(["param", "list", "arm"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["  enabled", "  gain", "  joints"]
    assert main(["param", "list"]) == 0
    assert "/arm:\n  enabled\n  gain\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gain", "Double value is: 1.5"),
        ("enabled", "Boolean value is: True"),
        ("joints", "String values are: ['pan', 'lift']"),
    ],
)
def test_param_get(arm, capsys, name, text):
    assert main(["param", "get", "/arm", name]) == 0
    assert capsys.readouterr().out == text + "\n"


def test_param_set_and_its_refusals(arm, capsys, monkeypatch):
    assert main(["param", "set", "arm", "gain", "2.5"]) == 0
    assert capsys.readouterr().out == "Set parameter successful\n"
    assert arm.get_parameter("gain").value == 2.5
    arm.set_parameters([type(arm.get_parameter("gain"))("gain", value=1.5)])
    assert main(["param", "set", "arm", "gain", "high"]) == 1
    assert "setting gain failed: Wrong parameter type" in capsys.readouterr().err
    assert main(["param", "get", "arm", "missing"]) == 1
    assert capsys.readouterr().out == "Parameter not set.\n"
    monkeypatch.setattr(graph, "DISCOVERY_S", 0.1)
    assert main(["param", "get", "nobody", "gain"]) == 1
    assert "node '/nobody' not found" in capsys.readouterr().err


def test_service_list_and_call(arm, capsys):
    assert main(["service", "list", "-t"]) == 0
    assert "/arm/torque [std_srvs/srv/SetBool]" in capsys.readouterr().out.splitlines()
    assert main(["service", "call", "arm/torque", "std_srvs/srv/SetBool", "{data: true}"]) == 0
    output = capsys.readouterr().out
    assert "requester: making request: std_srvs.srv.SetBool_Request(data=True)\n\n" in output
    assert output.endswith(
        "response:\nstd_srvs.srv.SetBool_Response(success=True, message='done')\n\n"
    )
    assert main(["service", "call", "arm/torque", "std_srvs/srv/SetBol"]) == 1
    assert "unknown type 'std_srvs/srv/SetBol'" in capsys.readouterr().err


def test_what_the_command_lacks_names_the_real_package(capsys):
    assert main(["action", "list"]) == 1
    assert "ros-jazzy-ros2cli-common-extensions" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["topic", "bw", "/x"])
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert "ros-jazzy-ros2topic" in error
    assert len(error.splitlines()) == 1
    assert main([]) == 0
    assert "topic" in capsys.readouterr().out
