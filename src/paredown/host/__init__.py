"""This machine: its cores, its processes and its logs; and retries for servers."""
