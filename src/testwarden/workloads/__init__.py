"""What one attempt is: one file per test type."""
