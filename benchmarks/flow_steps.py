"""How many steps of the flow a trained model needs, and with which solver.

    ./run python benchmarks/flow_steps.py

Trains `tiny` for some minutes on a made-up task with two ways to do it: a bright spot stands
somewhere in the picture, and the arm goes to it around an obstacle, above or below it at random.
Then it follows the flow from the same noise with few evaluations of the model and prints, in units
of the actions' spread:

- off: distance to the nearer of the two right answers, which is what a task would feel;
- drift: distance to the end of the same flow followed with 200 steps of Heun;
- other way: how many chunks go around the obstacle on the other side than that end does.
"""

import argparse
import dataclasses

import torch
from tqdm import trange

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import tiny
from multismolvla.policy.flow_matching import interpolate, target_velocity
from multismolvla.policy.model import MultiSmolVLA, Prefix
from multismolvla.policy.solvers import SOLVERS, solve
from multismolvla.streams import Stream
from multismolvla.training.policy.objective import repeated

STREAM = Stream("rgb", "rgb", 32, 32, 15.0, "camera_optical_frame")
ROWS, JOINTS, DRAWS = 50, 6, 16


def demonstrations(count: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Pictures (N, 3, 32, 32) with a spot, and for each some chunks (N, DRAWS, ROWS, JOINTS)."""
    place = torch.rand(count, generator=generator) * 2 - 1
    columns = torch.linspace(-1, 1, 32)
    spot = torch.exp(-((columns - place[:, None]) ** 2) / 0.02)
    pictures = spot[:, None, None, :].expand(-1, 3, 32, -1).contiguous()
    way = torch.randint(0, 2, (count, DRAWS, 1), generator=generator) * 2.0 - 1.0
    return pictures, answers(place, way)


def answers(place: torch.Tensor, way: torch.Tensor) -> torch.Tensor:
    """The chunks (N, D, ROWS, JOINTS) for spots at place (N,), ways (N, D, 1) of -1 and 1."""
    time = torch.linspace(0, 1, ROWS)
    reach = place[:, None, None] * time
    detour = way * torch.sin(torch.pi * time)
    joints = [reach, detour, reach + 0.5 * detour, reach - 0.5 * detour, -reach, 0.3 * detour]
    return torch.stack([joint.expand(-1, way.shape[1], -1) for joint in joints], dim=-1)


def read(model: MultiSmolVLA, pictures: torch.Tensor) -> Prefix:
    count = len(pictures)
    return model.prefix(
        {"rgb": pictures},
        torch.ones(count, 1, dtype=torch.bool),
        torch.ones(count, 2, dtype=torch.long),
        torch.ones(count, 2, dtype=torch.bool),
        torch.zeros(count, model.config.max_state_dim),
    )


def train(steps: int) -> MultiSmolVLA:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model = MultiSmolVLA(dataclasses.replace(tiny((STREAM,), SO101), chunk_size=ROWS), KINEMATICS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in (bar := trange(steps, desc="training")):
        pictures, actions = demonstrations(16, generator)
        actions = actions.flatten(0, 1)
        noise, time = torch.randn(actions.shape), torch.rand(len(actions)) * 0.999 + 0.001
        prefix = repeated(read(model, pictures), DRAWS)
        velocity = model.velocity(prefix, interpolate(actions, noise, time), time)
        loss = (velocity - target_velocity(actions, noise)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--training-steps", type=int, default=600)
    with torch.enable_grad():
        model = train(parser.parse_args().training_steps)
    pictures, actions = demonstrations(128, torch.Generator().manual_seed(2))
    prefix, spread = read(model, pictures), actions.std()
    # The first joint of a last row is the place; of every chunk that is right, one way each.
    right = answers(
        actions[:, 0, -1, 0], torch.tensor([[-1.0], [1.0]]).expand(len(actions), -1, -1)
    )
    noise = torch.randn(len(pictures), ROWS, JOINTS, generator=torch.Generator().manual_seed(3))

    def follow(solver: str, steps: int) -> torch.Tensor:
        return solve(solver, lambda x, t: model.velocity(prefix, x, t), noise, steps)

    exact = follow("adams_bashforth", 1000)
    middle = ROWS // 2
    print("| solver | evaluations | off | drift | other way |\n|---|---|---|---|---|")
    for evaluations in (1, 2, 3, 4, 5, 6, 8, 10, 20, 40):
        for name, solver in SOLVERS.items():
            steps, rest = divmod(evaluations, solver.evaluations_per_step)
            if rest:
                continue
            found = follow(name, steps)
            off = (found[:, None] - right).square().mean((2, 3)).amin(1).mean().sqrt() / spread
            drift = (found - exact).square().mean().sqrt() / spread
            other = (found[:, middle, 1].sign() != exact[:, middle, 1].sign()).float().mean()
            print(f"| {name} | {evaluations} | {off:.3f} | {drift:.3f} | {other:.1%} |")


if __name__ == "__main__":
    main()
