"""What stands between a person and the commands: words, hints, exit codes, first lines."""
