"""Kinds of points, with their labels and colors in every picture and page."""

FRONT, NEAREST, DOMINATED, MISSED = "front", "nearest", "dominated", "missed"
UNTRAINED, DEFAULT, BASELINE, LIMIT = "untrained", "default", "baseline", "limit"
SLOW, FAST, BELOW = "slow", "fast", "below"
LABELS = {
    DOMINATED: "dominated",
    MISSED: "misses budget",
    FRONT: "front",
    NEAREST: "nearest to budget",
    DEFAULT: "default values",
    BASELINE: "baseline",
    UNTRAINED: "never trained",
    SLOW: "fewer MACs, not faster",
    FAST: "as its MACs promise",
    BELOW: "below the axis",
}
COLORS = {  # readable on white and on near-black
    DOMINATED: "#8b929c",
    MISSED: "#8b929c",
    FRONT: "#2f7ed8",
    NEAREST: "#e07b39",
    DEFAULT: "#1f9d63",
    BASELINE: "#e07b39",
    UNTRAINED: "#8b929c",
    SLOW: "#d64550",
    FAST: "#2f7ed8",
    BELOW: "#d64550",
    LIMIT: "#d64550",
}
SERIES = ("#2f7ed8", "#e07b39", "#1f9d63", "#a05bd6", "#c2a01e", "#d64550", "#3aa6b9")
BARS = SERIES[:3]  # one per objective; there are three at most


def value_text(value: object) -> str:
    """Write a swept value, a float with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
