"""Does a camera show the arm at its measured joint positions? Learned from frames and joints."""
