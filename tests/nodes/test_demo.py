"""The demo's command line: bad input is one line, before anything is started."""

import pytest

from multismolvla.cli import main


@pytest.mark.parametrize("episodes", ["0", "-1", "many"])
def test_a_number_of_episodes_that_is_none_is_refused(episodes, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(["demo", f"--episodes={episodes}"])
    assert refusal.value.code == 2
    assert f"'{episodes}' is not a positive number" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert main(["demo", "--policy", "expert", "--out", str(file / "demo")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: --out {file}/demo: ") and printed.count("\n") == 1
