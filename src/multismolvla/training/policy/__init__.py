"""Training a policy from a recipe."""
