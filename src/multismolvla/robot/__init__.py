"""The SO-101 on its serial bus: Feetech protocol, calibration, emulated bus. No ROS."""
