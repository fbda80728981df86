"""Writing a trained policy as it is shipped."""
