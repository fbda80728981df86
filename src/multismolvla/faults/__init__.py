"""What can be done to sensors on purpose: damage of images, links, clocks and joint states."""
