"""Results as pictures and films."""
