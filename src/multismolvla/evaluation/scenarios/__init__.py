"""Sensor failures on a schedule, and whether the stack does what is expected."""
