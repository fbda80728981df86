"""`--config`: the same folder of parameter files for every command that runs the stack."""

import argparse

import pytest
import yaml

from multismolvla.evaluation import evaluate
from multismolvla.evaluation.scenarios import command as scenarios
from multismolvla.replay import command as replay
from multismolvla.stack.command_options import add_config, add_streams, stream_table_file
from multismolvla.stack.settings import load_settings, shipped_config
from multismolvla.training.demonstrations import command as demos

COMMANDS = {"evaluate": evaluate, "scenarios": scenarios, "replay": replay, "demos": demos}


def run(name, *options):
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_arguments(parser)
    given = ["no_bag"] if name == "replay" else []
    return COMMANDS[name].main(parser.parse_args([*given, *map(str, options)]))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_configuration_is_one_line_and_nothing_is_written(name, tmp_path, capsys):
    out = tmp_path / "out"
    content = {"/**": {"ros__parameters": {"slop_ms": 30.0}}}
    (tmp_path / "policy_node.yaml").write_text(yaml.safe_dump(content))
    assert run(name, "--config", tmp_path, "--out", out) == 1
    wrong = capsys.readouterr().err
    assert (
        f"{tmp_path / 'policy_node.yaml'}: unknown key 'slop_ms'; expected 'slop_s' in s" in wrong
    )
    assert run(name, "--config", tmp_path / "nowhere", "--out", out) == 1
    missing = capsys.readouterr().err
    assert f"{tmp_path / 'nowhere'}: no configuration; expected a folder with" in missing
    assert wrong.count("\n") == missing.count("\n") == 1 and not out.exists()


def test_the_stream_table_is_the_given_one_or_of_the_configuration_or_installed(tmp_path):
    parser = argparse.ArgumentParser()
    add_config(parser)
    add_streams(parser)

    def table(*options):
        args = parser.parse_args([str(option) for option in options])
        return stream_table_file(args.streams, load_settings(args.config))

    (tmp_path / "so101_driver.yaml").write_text("/**: {ros__parameters: {ramp_s: 2.0}}")
    assert table() == table("--config", tmp_path) == shipped_config() / "streams.yaml"
    (tmp_path / "streams.yaml").write_text("")
    assert table("--config", tmp_path) == tmp_path / "streams.yaml"
    assert table("--config", tmp_path, "--streams", "other.yaml").name == "other.yaml"
