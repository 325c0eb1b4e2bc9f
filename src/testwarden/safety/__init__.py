"""What may run: pure decisions. The current time is always an argument."""
