"""The ROS shell: one thin node per file around the pure cores. Only this folder imports rclpy."""
