"""README and docs hold: commands parse, files that they name exist, links lead somewhere."""

import importlib
import importlib.util
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch.actions import DeclareLaunchArgument

from multismolvla import cli

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "multismolvla"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
CARD = PACKAGE / "policy" / "small" / "README.md"


def command_lines(page: Path) -> Iterator[str]:
    """The lines of a page's code blocks, fenced or indented, continued lines joined."""
    fenced, open_line = False, ""
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            open_line += line.strip()
            if open_line.endswith("\\"):
                open_line = open_line[:-1]
                continue
            yield open_line
            open_line = ""


def commands(program: str) -> list[tuple[str, str]]:
    """(page, arguments) of every call of the program in the pages, without comments."""
    found = []
    for page in [*PAGES, CARD]:
        for line in command_lines(page):
            # A comment, a second command or the end of a background command ends the first one.
            line = re.split(r"\s#|\s&|;", line)[0]
            start = re.fullmatch(rf"(?:\./run )?{program} (.*)", line)
            if start and not start[1].startswith("/"):
                found.append((page.name, start[1]))
    return found


@pytest.fixture
def parse(monkeypatch):
    """Parse the arguments of `multismolvla` as the command would, without running it."""
    for module_name, _ in cli.COMMANDS.values():
        monkeypatch.setattr(importlib.import_module(module_name), "main", lambda args: 0)
    return lambda text: cli.main(shlex.split(text))


@pytest.mark.parametrize(("page", "arguments"), commands("multismolvla"))
def test_every_command_of_the_pages_parses(parse, page, arguments):
    arguments = re.sub(r"(\.\.\.|…)", "", arguments)
    try:
        assert parse(arguments) == 0
    except SystemExit as end:
        # `--help` ends with 0; anything else is an option that does not exist (any more).
        assert end.code == 0, f"{page}: multismolvla {arguments}"


@pytest.mark.parametrize(("page", "arguments"), commands("ros2 launch multismolvla"))
def test_every_launch_argument_of_the_pages_is_declared(page, arguments):
    file, *given = shlex.split(arguments)
    launch = runpy.run_path(str(ROOT / "launch" / file))["generate_launch_description"]()
    declared = {e.name for e in launch.entities if isinstance(e, DeclareLaunchArgument)}
    unknown = {word.partition(":=")[0] for word in given if ":=" in word} - declared
    assert not unknown, f"{page}: {file} has no argument {', '.join(sorted(unknown))}"


@pytest.mark.parametrize(("page", "module"), commands("python -m"))
def test_every_module_that_the_pages_run_exists(page, module):
    assert importlib.util.find_spec(module.split()[0]), f"{page}: no module {module}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_source_file_that_a_page_names_exists(page):
    """With its folder, from the root or from the package, or by its name alone."""
    names = set(re.findall(r"[\w*/-]+(?:\.launch)?\.py\b|\bconfig/[\w/*-]+\.\w+", page.read_text()))
    missing = [
        name
        for name in names
        if not any(any(top.glob(name)) for top in (ROOT, PACKAGE))
        and ("/" in name or not any(ROOT.glob(f"*/**/{name}")))
    ]
    assert not missing, f"{page.name} names {', '.join(sorted(missing))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http", "mailto")):
            continue
        file, _, anchor = target.partition("#")
        aim = page if not file else (page.parent / file).resolve()
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            broken.append(target)
    assert not broken, f"{page.name}: {', '.join(broken)}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
