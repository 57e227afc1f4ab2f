"""Studies of one run or of a sweep's jobs; each writes tables and pictures, and a summary."""
