"""LIBERO's 40 tasks (Liu et al. 2023) as a world beside the tabletop; its wheels are optional."""
