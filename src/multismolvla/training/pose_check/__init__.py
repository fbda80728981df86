"""Training the pose check of a robot."""
