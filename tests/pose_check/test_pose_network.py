"""The network with numpy gives the numbers of the one that torch trained."""

import numpy as np
import pytest
import torch

from multismolvla.modalities.registry import kinds, modalities
from multismolvla.pose_check.network import PoseNetwork
from multismolvla.pose_check.picture import SIZE
from multismolvla.training.pose_check import command as pose_network


@pytest.mark.parametrize("modality", modalities(), ids=kinds())
def test_numpy_equals_torch(modality):
    torch.manual_seed(0)
    trained = pose_network.PoseNetwork(modality.pose_channels, 6)
    network = PoseNetwork({name: value.numpy() for name, value in trained.state_dict().items()})
    pictures, joints = torch.randn(4, modality.pose_channels, SIZE, SIZE), torch.randn(4, 6)
    with torch.inference_mode():
        expected = trained(pictures, joints).numpy()
    pairs = zip(pictures.numpy(), joints.numpy(), strict=True)
    got = [network.misfit(picture, q) for picture, q in pairs]
    assert np.ptp(expected) > 1e-3
    assert got == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_missing_layer_is_named():
    arrays = {n: p.numpy() for n, p in pose_network.PoseNetwork(1, 6).state_dict().items()}
    del arrays["compare.2.bias"]
    with pytest.raises(ValueError, match=r"no layer 'compare\.2\.bias'"):
        PoseNetwork(arrays)
