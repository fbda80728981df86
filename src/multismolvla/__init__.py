"""MultiSmolVLA: a robot policy stack that keeps working when sensors fail."""
