"""The policy beside LeRobot: rows, processes, environment and report of benchmarks/policy.py."""
