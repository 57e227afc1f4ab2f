"""The names of a run's tags, and of the nodes of its configuration, as MLflow has them."""

SWEEP = "paredown.sweep"  # of a sweep's parent run: its folder
JOB = "job"  # number within the sweep
COMMAND = "command"
ERROR = "error"  # one line
OVER = "over_budget"  # what the file would miss; nothing was trained
STAGES = "stages"  # names, with commas between them
NOTE = "note"  # STAGE/note: what every table says beside the stage's name
HOST, PID, STARTED = "paredown.host", "paredown.pid", "paredown.started"  # the owner's process
ON_MACHINE = "paredown.machine"
PARENT = "mlflow.parentRunId"
