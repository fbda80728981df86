"""Training the segmentation network."""
