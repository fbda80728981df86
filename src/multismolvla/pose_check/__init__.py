"""Does what a camera shows fit where the arm says that it is? Learned from pictures and joints."""
