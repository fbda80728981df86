"""What int8 weights in each part of the model cost the actions.

    ./run python benchmarks/int8_error.py

SmolVLA at full size with random weights and two cameras: one part after the other has its linear
maps in int8, all else stays as it is. The error is that of the whole chunk, relative to it.
"""

import argparse
import copy

import torch
from torch import nn

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import smolvla
from multismolvla.policy.engine import InferenceEngine
from multismolvla.policy.fast_linear import fast_linear
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.streams import Stream

CAMERAS = tuple(Stream(f"{c}/rgb", "rgb", 512, 512, 15.0, "camera") for c in ("top", "wrist"))
# Name -> beginning and end of the names of its linear maps.
PARTS = {
    "vision tower and its projection": ("visual.", ""),
    "language model": ("text.", ""),
    "expert, all of it": ("expert.", ""),
    "expert, attention": ("expert.", ("q_proj", "k_proj", "v_proj", "o_proj")),
    "expert, gate and up": ("expert.", ("gate_proj", "up_proj")),
    "expert, down": ("expert.", "down_proj"),
}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torch.manual_seed(0)
    model = MultiSmolVLA(smolvla(CAMERAS, SO101), KINEMATICS).eval()
    frames = {stream.name: torch.rand(1, 3, 512, 512) * 2 - 1 for stream in CAMERAS}
    mask = torch.ones(1, 2, dtype=torch.bool)
    words, state = torch.randint(3, 49000, (1, 12)), torch.randn(1, 32)
    noise = torch.randn(1, 50, 32)

    def actions(model: MultiSmolVLA | InferenceEngine) -> torch.Tensor:
        everything = torch.ones_like(words, dtype=torch.bool)
        return model.sample(model.prefix(frames, mask, words, everything, state), noise)

    with torch.inference_mode():
        exact = actions(model)

        def show(name: str, changed: MultiSmolVLA | InferenceEngine) -> None:
            error = (actions(changed) - exact).norm()
            moved = (exact - noise).norm()
            print(f"| {name} | {error / exact.norm():.2%} | {error / moved:.2%} |", flush=True)

        print("| in int8 | of the actions | of their distance from the noise |\n|---|---|---|")
        for name, (begin, end) in PARTS.items():
            changed = copy.deepcopy(model)
            for path, part in model.named_modules():
                if isinstance(part, nn.Linear) and path.startswith(begin) and path.endswith(end):
                    changed.set_submodule(path, fast_linear("int8", part))
            show(name, changed)
        show("the engine's choice", InferenceEngine(model, "int8"))


if __name__ == "__main__":
    main()
