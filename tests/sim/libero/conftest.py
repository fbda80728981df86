"""One LIBERO world for all tests; they skip where its wheels are not installed."""

import pytest

from multismolvla.sim.libero import package


@pytest.fixture(scope="session")
def libero_world():
    if not package.installed():
        pytest.skip("LIBERO's wheels are not installed")
    from multismolvla.sim.libero.world import LiberoWorld

    return LiberoWorld()
