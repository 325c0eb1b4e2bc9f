"""What was measured, for a person: one HTML file that opens without a network, or tables in a terminal."""
