"""The running robot without ROS, on an explicit clock: what composes the cores."""
