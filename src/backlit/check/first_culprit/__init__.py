"""The first operation that produced NaN or infinity, forward or backward, and why."""
