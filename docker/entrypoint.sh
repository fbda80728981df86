#!/bin/bash
# ROS 2, then this package, then the command.
set -e
source /opt/ros/jazzy/setup.bash
source /opt/multismolvla/install/setup.bash
exec "$@"
