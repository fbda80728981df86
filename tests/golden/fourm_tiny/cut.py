"""Cut the reference files to what the tests read: `python cut.py <folder with the whole files>`.

Keeps the first of the two samples, and of each token embedding the rows that this sample names;
the sample's tokens are renumbered to them. Nothing is computed anew.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main(source: Path, target: Path) -> None:
    weights = load_file(source / "encoder.safetensors")
    golden = load_file(source / "golden.safetensors")
    golden = {key: golden[key][:1] for key in golden if key.startswith(("in.", "out."))}
    for key in [key for key in golden if key.startswith("in.tok_")]:
        table = f"encoder_embeddings.{key.removeprefix('in.')}.token_emb.weight"
        rows, golden[key] = torch.unique(golden[key], return_inverse=True)
        weights[table] = weights[table][rows]
    save_file({k: v.contiguous() for k, v in golden.items()}, target / "golden.safetensors")
    save_file({k: v.contiguous() for k, v in weights.items()}, target / "encoder.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
