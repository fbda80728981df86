"""Semantic segmentation from whichever of RGB, depth and thermal are present. torch only."""

# Of the network's convolutions. Here, for a node that declares it must not wait for torch.
PRECISIONS: tuple[str, ...] = ("auto", "float32", "bfloat16")
