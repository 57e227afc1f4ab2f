"""The command line: arguments and hints, exit codes, the first log lines."""
