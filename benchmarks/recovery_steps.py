"""How many steps of fine-tuning an amount needs where images are few.

    python benchmarks/recovery_steps.py             about 4 minutes a seed on two cores

A cnn4 of 32 channels, trained for 40 epochs on 480 digits, loses channels by amount, and is
fine-tuned for so many epochs of 15 steps (batches of 32) by its own answers and the labels.
Accuracy of the file on 920 other digits. Half of the channels want about 75 steps, 0.7 about 300;
0.9 has not quite come back after 1,200.
"""

import numpy as np

from paredown.dataset.digits import Digits
from paredown.session import Session

EPOCHS = (0, 2, 5, 10, 20, 40, 80)
STEPS = 480 // 32  # of an epoch
QUICK = ("measure.processes=1", "measure.rounds=1")


def main() -> None:
    """Print a line for each seed and amount."""
    whole = Digits(split_seed=0, crop=2).load()
    splits = (whole.train, whole.val, whole.test)
    images = np.concatenate([np.asarray(split.images) for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    print("seed, amount, accuracy in % after", *(STEPS * epochs for epochs in EPOCHS), "steps")
    for seed in (0, 1):
        order = np.random.default_rng(seed).permutation(len(labels))
        train, val, test = order[:480], order[480:1400], order[1400:]
        parts = {"train": train, "val": val, "test": test}
        data = {role: (images[index], labels[index]) for role, index in parts.items()}
        own = ("dataset.crop=2", "training.batch_size=32", "training.epochs=40", f"seed={seed}")
        session = Session(data, *own, *QUICK)
        teacher = session.train("cnn4", width=32)
        for amount in (0.3, 0.5, 0.7, 0.9):
            found = []
            for epochs in EPOCHS:
                pruned = session.prune(teacher, amount=amount, epochs=epochs, round_to=8)
                (row,) = session.measure(pruned=pruned)
                found.append(f"{100 * row['accuracy']:.1f}")
            print(seed, amount, *found, flush=True)


if __name__ == "__main__":
    main()
