"""Semantic segmentation from whichever of RGB, depth and thermal are present. torch only."""
