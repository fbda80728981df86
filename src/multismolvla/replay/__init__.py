"""A recorded bag through the stack again, in code or live, and what faults change."""
