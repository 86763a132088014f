"""Metrics as pure functions: arrays of known labels in, numbers out, None where a number is not defined."""
