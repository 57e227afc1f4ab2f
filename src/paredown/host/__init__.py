"""This machine: its cores, its processes, its logs, and patience with what is away."""
