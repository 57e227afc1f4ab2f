"""A teacher's answers to every training image in a few views, given once and kept."""

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
from paredown.training.loop import Batch, resolve_device, resolve_precision

log = logging.getLogger(__name__)

FILE = "logits.npy"
CHUNK = 256  # images that are answered at once


class Answers(NamedTuple):
    """What training shows in the place of freshly augmented images.

    A student sees an image exactly as the teacher did when it answered.

    Source: Shen and Xing, A Fast Knowledge Distillation Framework for Visual Recognition, 2021,
    arXiv 2112.01528; that both must see one view: Beyer et al., Knowledge distillation: A good
    teacher is patient and consistent, 2021, arXiv 2106.05237.

    Args:
        dataset: Whose training images they are.
        ways: How a view shows them; one a view.
        logits: float32, (views, N, classes).
    """

    dataset: Dataset
    ways: Sequence[AugmentParams]
    logits: NDArray[np.float32]

    def draw(self, picked: NDArray[np.int64], epoch: int) -> Batch:
        """Give a batch of an epoch; epochs take the views in turn.

        Args:
            picked: Numbers of training images, (N,).
            epoch: From 0.
        """
        at = epoch % len(self.ways)
        images = torch.from_numpy(self.dataset.augmented_view(picked, self.ways[at].take(picked)))
        labels = torch.from_numpy(self.dataset.train.labels[picked])
        return Batch(images, labels, torch.from_numpy(self.logits[at, picked]))


def ask(teacher: nn.Module, dataset: Dataset, views: int, training: Training, file: Path) -> None:
    """Let a teacher answer, in the precision that it would be trained in.

    Args:
        teacher: Maps (N, C, H, W) to logits (N, classes).
        dataset: Whose training images it is shown.
        views: Ways in which it is shown each.
        training: Names device, precision and threads.
        file: Takes float32, (views, N, classes), in NumPy's format.
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
        for number, at in product(range(views), range(0, count, CHUNK)):
            some = slice(at, at + CHUNK)
            shown = dataset.augmented_view(some, dataset.view(number).take(some))
            images = torch.from_numpy(shown).contiguous(memory_format=layout(teacher))
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, fast):
                told = teacher(images.to(device))
            if pulse.due():
                log.info("teacher: asked for view %d of %d, image %d", number + 1, views, at)
            out.write(told.float().cpu().numpy().astype("<f4").tobytes())
    seconds = time.perf_counter() - start
    log.info("teacher: answers to %d images in %d views in %.1f s", count, views, seconds)


def kept(dataset: Dataset, folder: Path) -> Answers:
    """Take answers that were kept.

    Args:
        dataset: Whose training images they are.
        folder: Holds the file that `ask` wrote.
    """
    logits = np.load(folder / FILE, mmap_mode="r")  # 8 views of ImageNet are 41 GB
    return Answers(dataset, [dataset.view(number) for number in range(len(logits))], logits)
