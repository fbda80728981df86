"""What a person who watches the robot is shown: paths, health, point clouds. No ROS."""
