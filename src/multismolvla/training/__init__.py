"""Training of the networks that the stack ships."""
