"""The programs and protocols that carry out an attempt, each behind one door."""
