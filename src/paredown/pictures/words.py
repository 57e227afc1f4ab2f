"""The words, numbers and colors of every picture and page."""

from collections.abc import Mapping

FRONT, NEAREST, DOMINATED, MISSED = "front", "nearest", "dominated", "missed"
UNTRAINED, DEFAULT, BASELINE, LIMIT = "untrained", "default", "baseline", "limit"
SLOW, FAST, BELOW = "slow", "fast", "below"
TOLD = {
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
BARS = ("#2f7ed8", "#e07b39", "#1f9d63")  # an objective each; there are three at most

AXES = {
    "accuracy": "accuracy",
    "size_mb": "size, MB",
    "latency_ms": "latency, ms",
    "latency_ms_p95": "95 % of latencies within, ms",
    "speedup": "speed-up",
    "params": "parameters",
    "macs": "MACs",
    "mmacs": "MACs, millions",
    "sparsity": "sparsity",
}
FORMS = {
    **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high"), ".2%"),
    **dict.fromkeys(("speedup", "speedup_low", "speedup_high"), ".2f"),
    **dict.fromkeys(("params", "macs"), ",.0f"),
    "sparsity": ".1%",
    "mmacs": ".3g",
}


def say(name: str) -> str:
    """Name a metric in words, without its unit."""
    return AXES.get(name, name).partition(",")[0]


def with_interval(name: str, metrics: Mapping[str, float]) -> str:
    """Write a figure with its 95 % interval, if it has one; nothing for one that is absent."""
    if name not in metrics:
        return ""
    ends = [metrics[f"{name}_{end}"] for end in ("low", "high") if f"{name}_{end}" in metrics]
    texts = [format(end, ".1%" if name == "accuracy" else ".2f") for end in ends]
    return form(name, metrics[name]) + (f" [{', '.join(texts)}]" if texts else "")


def form(name: str, at: object) -> str:
    """Write a metric or a swept value as a person reads it."""
    if isinstance(at, float) or (name in FORMS and isinstance(at, int)):
        return format(at, FORMS.get(name, ".3f" if name in AXES else ".4g"))
    return str(at)
