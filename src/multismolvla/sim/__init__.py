"""A MuJoCo tabletop with an SO-101: scene, cameras, tasks, scripted expert. No ROS."""
