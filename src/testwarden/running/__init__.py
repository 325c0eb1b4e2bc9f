"""How it runs: the hour's schedule, worker threads and their cancellation."""
