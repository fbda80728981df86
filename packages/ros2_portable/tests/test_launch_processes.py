"""Child processes of a launch: output, environment, exit, respawn and every way to be ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch import LaunchDescription, LaunchService
from launch.actions import (
    ExecuteProcess,
    GroupAction,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.substitutions import LaunchConfiguration
from patience import HANG_S

# Longer than any test may take.
NEVER_S = 3600.0

# Ends on SIGINT, as nodes do; `ready` exists once it waits.
WAIT = "import pathlib, signal\npathlib.Path('ready').touch()\nsignal.pause()"
IGNORE_SIGINT = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + WAIT
IGNORE_BOTH = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + IGNORE_SIGINT


def python(code, **options):
    return ExecuteProcess(cmd=[sys.executable, "-c", code], **options)


def run(*entities):
    service = LaunchService()
    service.include_launch_description(LaunchDescription(entities))
    return service.run()


def wait_for(condition, timeout_s=HANG_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.01)


def gone(pid):
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_output_is_prefixed_and_the_end_reported(capfd):
    code = "import sys; print('one\\ntwo'); print('bad', file=sys.stderr); sys.exit(3)"
    assert run(python(code, name="worker", output="screen")) == 0
    lines = capfd.readouterr().out.splitlines()
    prefix = next(line.split("]")[0] for line in lines if line.endswith("] one")) + "]"
    assert prefix.startswith("[worker-")
    assert f"{prefix} two" in lines and f"{prefix} bad" in lines
    assert any(f"[INFO] {prefix}: process started with pid [" in line for line in lines)
    died = [line for line in lines if f"[ERROR] {prefix}: process has died [pid " in line]
    assert len(died) == 1 and "exit code 3, cmd '" in died[0]


def test_output_log_shows_only_stderr(capfd):
    code = "import sys; print('quiet'); print('loud', file=sys.stderr)"
    assert run(python(code)) == 0
    shown = capfd.readouterr().out
    assert "] loud" in shown and "] quiet" not in shown


def test_environment_and_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SHARED", raising=False)
    code = "import json, os; json.dump([os.getcwd(), dict(os.environ)], open('out', 'w'))"
    shared = GroupAction(
        [
            SetEnvironmentVariable("SHARED", "1"),
            python(code, cwd=str(tmp_path), additional_env={"MORE": "2"}),
        ]
    )
    run(shared)
    folder, environment = json.loads((tmp_path / "out").read_text())
    assert folder == str(tmp_path)
    assert environment["SHARED"] == "1" and environment["MORE"] == "2"


def test_nested_substitutions(capfd):
    code = ["print('", LaunchConfiguration("who", default="world"), "')"]
    run(ExecuteProcess(cmd=[sys.executable, "-c", code], output="screen"))
    assert "] world\n" in capfd.readouterr().out


def test_a_missing_program_is_one_line_and_the_rest_goes_on(capfd):
    run(ExecuteProcess(cmd=["/no/such/program"]), python("print('alive')", output="screen"))
    printed = capfd.readouterr()
    assert "] alive" in printed.out


def test_handlers_see_start_and_exit():
    seen = []
    process = python("raise SystemExit(4)")

    def note(kind):
        return lambda event, context: seen.append(
            (kind, event.pid, getattr(event, "returncode", None))
        )

    run(
        RegisterEventHandler(OnProcessStart(target_action=process, on_start=note("start"))),
        RegisterEventHandler(OnProcessExit(target_action=process, on_exit=note("exit"))),
        process,
        python("pass"),
    )
    assert [kind for kind, *_ in seen] == ["start", "exit"]
    assert seen[0][1] == seen[1][1] == process.process_details["pid"]
    assert seen[1][2] == process.return_code == 4


def test_handlers_of_the_processes_that_a_function_is_true_of():
    seen = []

    def handler(kind):
        return lambda event, _: seen.append((kind, event.action.name))

    first, second = python("pass", name="first"), python("pass", name="second")
    run(
        RegisterEventHandler(
            OnProcessStart(target_action=lambda a: a is first, on_start=handler("start"))
        ),
        RegisterEventHandler(
            OnProcessExit(target_action=lambda a: a.name == "second", on_exit=handler("exit"))
        ),
        first,
        second,
    )
    assert sorted(seen) == [("exit", "second"), ("start", "first")]


def test_respawn_until_the_retries_are_used_up(tmp_path):
    code = "open('count', 'a').write('x'); raise SystemExit(1)"
    run(python(code, cwd=str(tmp_path), respawn=True, respawn_delay=0.01, respawn_max_retries=2))
    assert (tmp_path / "count").read_text() == "xxx"


def test_a_required_process_ends_the_launch_without_respawns(tmp_path):
    waiting = python(WAIT, cwd=str(tmp_path), respawn=True)
    code = "import os, time\nwhile not os.path.exists('ready'): time.sleep(0.01)"
    required = python(code, cwd=str(tmp_path), on_exit=Shutdown(reason="required"))
    assert run(waiting, required) == 0
    assert waiting.return_code == -signal.SIGINT or waiting.return_code == 1
    assert gone(waiting.process_details["pid"])


def test_no_respawn_once_shutdown_began(tmp_path):
    # A launch that waited for the respawn would not end before the test does.
    crashing = python(
        "open('count', 'a').write('x')", cwd=str(tmp_path), respawn=True, respawn_delay=NEVER_S
    )
    shutdown = TimerAction(period=0.1, actions=[Shutdown()])
    run(
        RegisterEventHandler(OnProcessExit(target_action=crashing, on_exit=[shutdown])),
        crashing,
    )
    assert (tmp_path / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("code", "sigkill_timeout", "expected"),
    [
        # However long a busy machine takes to end it by SIGTERM, SIGKILL does not come first.
        (IGNORE_SIGINT, NEVER_S, -signal.SIGTERM),
        (IGNORE_BOTH, 0.2, -signal.SIGKILL),
    ],
)
def test_escalation(tmp_path, code, sigkill_timeout, expected):
    timeouts = {"sigterm_timeout": "0.2", "sigkill_timeout": str(sigkill_timeout)}
    process = python(code, cwd=str(tmp_path), **timeouts)

    def poll(context):
        ready = (tmp_path / "ready").exists()
        return (
            [Shutdown()]
            if ready
            else [TimerAction(period=0.02, actions=[OpaqueFunction(function=poll)])]
        )

    run(process, OpaqueFunction(function=poll))
    assert process.return_code == expected


LAUNCH_FILE = """
import os, sys
from launch import LaunchDescription
from launch.actions import ExecuteProcess

WAIT = "import os, signal, sys; print(os.getpid(), file=open(sys.argv[1], 'w')); signal.pause()"
CODES = {
    "child": WAIT,
    "grandchild": "import os, sys; os.spawnv(os.P_WAIT, sys.argv[2], [*sys.argv[2:], sys.argv[1]])",
    "left_behind": "import subprocess, sys; subprocess.Popen([*sys.argv[2:], sys.argv[1]])",
    "stubborn": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " + WAIT,
}

def generate_launch_description():
    return LaunchDescription([
        ExecuteProcess(cmd=[sys.executable, "-c", CODES[name], name, sys.executable, "-c", WAIT],
                       respawn=name == "child", sigterm_timeout=os.environ["NEVER_S"])
        for name in os.environ["PROCESSES"].split()
    ])
"""


@pytest.fixture
def launch(tmp_path):
    """Starts `ros2 launch` in a process group of its own; returns it and the pids below it."""
    (tmp_path / "x.launch.py").write_text(LAUNCH_FILE)
    started = []

    def start(*names):
        process = subprocess.Popen(
            [os.path.join(os.path.dirname(sys.executable), "ros2"), "launch", "x.launch.py"],
            cwd=tmp_path,
            # Nothing that needs an escalation ends before the test does.
            env=os.environ | {"PROCESSES": " ".join(names), "NEVER_S": str(NEVER_S)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        files = [tmp_path / name for name in names]
        wait_for(lambda: all(file.exists() and file.read_text() for file in files))
        return process, [int(file.read_text()) for file in files]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["only the launch", "its group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_no_process_behind(launch, send, number):
    process, pids = launch("child", "grandchild")
    send(process.pid, number)
    output, _ = process.communicate(timeout=HANG_S)
    assert all(gone(pid) for pid in pids)
    assert output.count("process started") == 2, "respawned during shutdown"
    assert "\nTraceback" not in output, "a traceback of the launch itself"


def test_ctrl_c_reaches_what_an_ended_process_left_behind(launch):
    process, pids = launch("child", "left_behind")
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=HANG_S)
    wait_for(lambda: all(gone(pid) for pid in pids))


def test_a_second_ctrl_c_does_not_wait_for_the_stubborn(launch):
    process, [pid] = launch("stubborn")
    os.kill(process.pid, signal.SIGINT)
    while "sending signal 'SIGINT'" not in process.stdout.readline():
        pass
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=HANG_S)
    assert gone(pid)


def test_children_do_not_outlive_a_killed_launch(launch):
    process, [child] = launch("child")
    process.kill()
    wait_for(lambda: gone(child))


def test_log_info_and_shutdown_reason(capfd):
    run(LogInfo(msg=["hello ", "there"]))
    assert "[INFO] [launch.user]: hello there" in capfd.readouterr().out
