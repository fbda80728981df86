"""LIBERO's scripted teacher: privileged plans, and a law that turns a plan into actions."""

from multismolvla.sim.libero.teacher.law import Plan, act, imagine
from multismolvla.sim.libero.teacher.teacher import Teacher

__all__ = ["Plan", "Teacher", "act", "imagine"]
