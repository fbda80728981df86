"""Episodes on disk: MCAP bags, LeRobot data sets and the training cache. No ROS, no torch."""
