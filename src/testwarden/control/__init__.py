"""What should run: where tasks come from, and how they are read."""
