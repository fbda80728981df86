"""MultiSmolVLA in torch. No ROS here."""
