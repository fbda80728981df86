"""Recording demonstrations in simulation."""
