"""Writes a SmolVLA of random weights as LeRobot does: the whole loop runs before there are weights.

    ./run python scripts/random_smolvla.py out/random_smolvla
    ./run multismolvla evaluate --world libero --policies out/random_smolvla --suite object \
        --episodes-per-task 1 --conditions clean

It has the size and the layout of `lerobot/smolvla_base` and LIBERO's two RGB views, and it succeeds
never. 900 MB.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from multismolvla.embodiment.panda import PANDA
from multismolvla.policy.config import smolvla
from multismolvla.policy.lerobot_checkpoint import save_lerobot
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE
from multismolvla.streams import Stream

IMAGE_PX = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to write; replaced if it exists")
    args = parser.parse_args()
    torch.manual_seed(0)
    rate_hz = 1.0 / PANDA.action_space.period_s
    streams = tuple(
        Stream(f"{camera}/rgb", "rgb", IMAGE_PX, IMAGE_PX, rate_hz, "camera")
        for _, camera in PANDA.lerobot.cameras
    )
    config = smolvla(streams, PANDA)
    states, actions = len(config.joints), len(config.action_names)
    normalizer = Normalizer(
        config,
        state_mean=torch.zeros(states),
        state_std=torch.ones(states),
        action_mean=torch.zeros(actions),
        action_std=torch.full((actions,), 0.3),
    )
    shutil.rmtree(args.folder, ignore_errors=True)
    save_lerobot(args.folder, MultiSmolVLA(config, PANDA.kinematics), normalizer)
    shutil.copyfile(SHIPPED_FILE, args.folder / "tokenizer.json")
    print(f"{args.folder}: {sum(f.stat().st_size for f in args.folder.iterdir()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
