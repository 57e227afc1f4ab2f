"""Small networks for 3x32x32 images, each with one habit of real people's code.

Each is a class `Network(num_classes)`, also for the command line:
`PYTHONPATH=tests python run.py model=custom model.target=habits.splits.UnevenSplit`.
"""

from habits import gates, heads, joins, layers, splits, tokens, ways
from habits.parts import HABITS, Habit

__all__ = ["HABITS", "Habit", "gates", "heads", "joins", "layers", "splits", "tokens", "ways"]
