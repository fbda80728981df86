"""What goes wrong with cameras, on purpose: seeded faults of one stream on an explicit clock."""
