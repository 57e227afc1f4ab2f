"""Soft targets: a teacher's logits for every training image in a few views, computed once."""

import copy
import logging
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from paredown.dataset import Dataset
from paredown.dataset.augment import AugmentParams
from paredown.host.logs import Pulse
from paredown.model.form import arrange, layout
from paredown.training import Training
from paredown.training.loop import resolve_device, resolve_precision
from paredown.training.step import Batch

log = logging.getLogger(__name__)

FILE = "logits.npy"
CHUNK = 256  # images per forward pass


class SoftTargets(NamedTuple):
    """Stored views of the training images, with the teacher's logits for the very same views.

    Source: Shen and Xing, A Fast Knowledge Distillation Framework for Visual Recognition, 2021,
    arXiv 2112.01528; that both must see one view: Beyer et al., Knowledge distillation: A good
    teacher is patient and consistent, 2021, arXiv 2106.05237.

    Args:
        dataset: Owner of the training images.
        ways: Augmentation of each view.
        logits: float32, (views, N, classes).
    """

    dataset: Dataset
    ways: Sequence[AugmentParams]
    logits: NDArray[np.float32]

    def draw(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        """Return a batch of training images; epochs, counted from 0, take the views in turn."""
        view = epoch % len(self.ways)
        images = torch.from_numpy(
            self.dataset.augmented_view(indices, self.ways[view].take(indices))
        )
        labels = torch.from_numpy(self.dataset.train.labels[indices])
        return Batch(images, labels, torch.from_numpy(self.logits[view, indices]))


def precompute(
    teacher: nn.Module, dataset: Dataset, views: int, training: Training, file: Path
) -> None:
    """Write the teacher's logits, float32 (views, N, classes), in NumPy's format.

    They are computed on the device and in the precision that the teacher would be trained with.
    """
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    device, fast = resolve_device(training), resolve_precision(training, teacher) == "bfloat16"
    teacher = copy.deepcopy(teacher).eval().to(device)  # the caller's stays where it is
    arrange(teacher)
    count, start, pulse = len(dataset.train), time.perf_counter(), Pulse()
    with file.open("wb") as out:
        shape = (views, count, len(dataset.classes))
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(out, header)
        for view, first in product(range(views), range(0, count, CHUNK)):
            rows = slice(first, first + CHUNK)
            augmented = dataset.augmented_view(rows, dataset.view(view).take(rows))
            images = torch.from_numpy(augmented).contiguous(memory_format=layout(teacher))
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, fast):
                logits = teacher(images.to(device))
            if pulse.due():
                log.info("teacher: view %d of %d, image %d", view + 1, views, first)
            out.write(logits.float().cpu().numpy().astype("<f4").tobytes())
    seconds = time.perf_counter() - start
    log.info("teacher: soft targets for %d images in %d views in %.1f s", count, views, seconds)


def load(dataset: Dataset, folder: Path) -> SoftTargets:
    """Load the soft targets that `precompute` wrote into a folder."""
    logits = np.load(folder / FILE, mmap_mode="r")  # 8 views of ImageNet are 41 GB
    return SoftTargets(dataset, [dataset.view(view) for view in range(len(logits))], logits)
