"""The table of faults in the documents is that of the code."""

from pathlib import Path

from multismolvla.faults.registry import FAULTS, fault_table

PAGE = Path(__file__).parents[2] / "docs" / "failure-testing.md"


def test_the_page_has_the_table_of_the_code():
    """`./run multismolvla scenarios --list-faults` prints it anew."""
    assert "\n".join(fault_table()) in PAGE.read_text()


def test_the_table_has_every_fault_and_parameter():
    table = "\n".join(fault_table())
    for fault in FAULTS.values():
        assert f"| `{fault.name}` |" in table
        for declared in fault.parameters():
            assert f"`{declared.name}`: {declared.metadata['description']}" in table
    columns = {row.count("|") for row in fault_table()}
    assert len(columns) == 1
