"""What the operator sees and types: keys, tables, live status."""
