"""An emulated arm for every test that wants one."""

import pytest

from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.first_order_plant import FirstOrderPlant


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def plant(clock):
    return FirstOrderPlant(clock=clock)


@pytest.fixture
def emulated(plant, tmp_path):
    with EmulatedBus(plant, link=tmp_path / "so101") as emulated:
        yield emulated


@pytest.fixture(autouse=True)
def patient_scan(monkeypatch):
    """Emulated servos share the processor with other work: they answer when they get to it."""
    monkeypatch.setattr(FeetechBus.scan, "__defaults__", (0.2,))


@pytest.fixture
def bus(emulated):
    with FeetechBus(emulated.port, timeout_s=0.5, retries=1) as bus:
        yield bus
