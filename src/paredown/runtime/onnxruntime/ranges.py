"""Ranges of activations, taken from calibration images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Dataset
from paredown.quantize.affine import affine, round_trip
from paredown.runtime import calibration_batches
from paredown.variant import Numerics

if TYPE_CHECKING:
    from onnxruntime.quantization.calibrate import TensorsData

CALIBRATORS: dict[str, tuple[str, dict[str, int]]] = {  # ONNX Runtime's name, and its options
    "minmax": ("MinMax", {}),
    "percentile": ("Percentile", {}),
    "entropy": ("Entropy", {"num_bins": 2048, "num_quantized_bins": 128}),  # of 128 bins by default
    "mse": ("Percentile", {}),  # for its histograms
}
SHRINKS = np.linspace(1, 0.1, 91)  # shares of the observed range, searched by squared error


def ranges(file: Path, dataset: Dataset, numerics: Numerics) -> "TensorsData":
    """Return each activation's range over the calibration images of a prepared float32 file.

    Batch by batch, so that memory holds one batch of activations and one histogram per activation.
    A copy of the file with more outputs is written beside it.
    """
    from onnxruntime.quantization.calibrate import (
        CalibrationDataReader,
        CalibrationMethod,
        TensorData,
        create_calibrator,
    )
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds one batch."""

        def __init__(self, images: Any) -> None:
            self.batches = [{"images": images}]

        def get_next(self) -> Any:
            return self.batches.pop() if self.batches else None

    calibrator_name, options = CALIBRATORS[numerics.range]
    calibrator = create_calibrator(
        file,
        sorted({*QDQRegistry, *QLinearOpsRegistry}),
        augmented_model_path=str(file.with_name("augmented.onnx")),
        calibrate_method=CalibrationMethod[calibrator_name],
        extra_options={"symmetric": numerics.symmetric, **options},
    )
    for images in calibration_batches(dataset, numerics.calibration_images):
        calibrator.collect_data(Reader(images))
    spans: TensorsData = calibrator.compute_data()
    if numerics.range == "mse":
        for name, histogram in calibrator.collector.histogram_dict.items():
            counts, edges, low, high = histogram[:4]
            low, high = least_squares_range(counts, edges, low, high, numerics.symmetric)
            ends = {"lowest": np.float32(low), "highest": np.float32(high)}
            spans[name] = TensorData(**ends)
    return spans


def least_squares_range(
    counts: NDArray[np.int64],
    edges: NDArray[np.float32],
    low: float,
    high: float,
    symmetric: bool,
    bits: int = 8,
) -> tuple[float, float]:
    """Shrink the range low..high to the least squared error of rounding and clipping together.

    Args:
        counts: Of values between neighbouring edges, (bins,).
        edges: (bins + 1,).
        low: Smallest value.
        high: Largest value.
        symmetric: Whether the range is forced to be symmetric about 0.
        bits: Of an integer.
    """
    centers = (edges[:-1] + edges[1:]) / 2
    centers, weights = centers[counts > 0], counts[counts > 0]
    errors = []
    for share in SHRINKS:
        step = affine(low * share, high * share, bits, symmetric)
        errors.append(float((weights * (round_trip(centers, step) - centers) ** 2).sum()))
    best = float(SHRINKS[int(np.argmin(errors))])
    return low * best, high * best
