"""Studies of a sweep's jobs: each a table or a picture, and what it says."""
