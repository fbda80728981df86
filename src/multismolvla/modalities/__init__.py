"""A kind of image as data: one description a kind, in a file of its own."""
