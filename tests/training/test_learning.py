"""Training on a made-up task ends with a policy that looks."""

import numpy as np
import yaml
from synthetic_cache import TABLE, draw, write_cache

from multismolvla.cli import main
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import Observation
from multismolvla.policy.learned_policy import LearnedPolicy


def test_the_policy_learns_to_follow_the_pictures(tmp_path):
    """States say nothing of the goal here: only who sees the square can reach it."""
    write_cache(tmp_path / "data", episodes=40, length=16, streams=("rgb",))
    overrides = {"text": {"vocab_size": 1024, "layers": 2}}
    still = {"colour": 0.0, "texture": 0.0, "shift_px": 0}
    common = {"batch_size": 32, "groups": 1, "dropout": {"schedule": "none"}, "augment": still}
    recipe = {
        "model": {"preset": "tiny", "overrides": overrides},
        "validate_steps": 0,
        "phases": [
            {
                "name": "perception",
                "kind": "perception",
                "steps": 200,
                "learning_rate": 3e-3,
                **common,
            },
            {
                "name": "policy",
                "steps": 300,
                "draws": 4,
                "learning_rate": 2e-3,
                "ema": 0.9,
                "state_noise_rad": 0.0,
                "state_dropout": 0.0,
                **common,
            },
        ],
    }
    (tmp_path / "streams.yaml").write_text(TABLE)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["train", tmp_path / "recipe.yaml", "--data", tmp_path / "data", "--cpu"]
    arguments += ["--streams", tmp_path / "streams.yaml", "--out", tmp_path / "out"]
    assert main([str(argument) for argument in arguments]) == 0
    policy = LearnedPolicy.load(tmp_path / "out" / "policy", SO101, seed=0)
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(12):
        centre = rng.uniform(-0.9, 0.9, 2)
        frames = {"rgb": draw("rgb", centre, rng)}
        state = rng.uniform(-0.3, 0.3, 6)
        chunk = policy.infer(Observation(0, frames, {"rgb": True}, state, "put the red cube"))
        errors.append(np.abs(chunk.actions[-1, :2] - centre))
    # Goals are spread over 2 rad: who does not look is wrong by half a radian. Runs with other
    # seeds, or on other processors, end between 0.13 and 0.17.
    assert np.mean(errors) < 0.3
