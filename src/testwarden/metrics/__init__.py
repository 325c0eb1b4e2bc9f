"""What was measured: samples, their line protocol, the files that hold them."""
