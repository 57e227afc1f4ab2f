"""Fold batch norms into the layers before them, in the graph that torch.export made.

Nothing of a user's code is traced for it: a layer that is called twice, control flow, and shapes
that depend on the batch stay as the export saw them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.fx import Node

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
OUTPUTS = {
    **{f"aten.{name}.{kind}": 0 for name in CONVOLUTIONS for kind in ("default", "padding")},
    **{f"aten.conv_transpose{axes}d.{kind}": 1 for axes, kind in ((1, "default"), (2, "input"))},
    "aten.linear.default": 0,
}
"""Operators that hold weights, with the axis of the weight that counts the outputs."""
WEIGHT, BIAS, GROUPS = 1, 2, 6  # positions among a layer's arguments
NORM = "aten.batch_norm.default"


def fold_norms(program: "ExportedProgram") -> None:
    """Fold every batch norm that can be into the layer before it, in place.

    weight * gamma / sqrt(variance + epsilon), bias likewise. A norm stays where the layer's
    output or its weight is used once more, or where it looks at the batch.

    Args:
        program: Exported in eval mode. Its tensors are exchanged, never written into.
    """
    stored, graph = _Stored(program), program.graph
    for norm in [node for node in graph.nodes if str(node.target) == NORM]:
        if _folds(stored, norm):
            layer: Any = norm.args[0]
            _scale(stored, layer, norm)
            norm.replace_all_uses_with(layer)
            used = [node for node in norm.args[1:5] if node is not None]
            graph.erase_node(norm)
            for node in used:
                if not node.users:
                    stored.drop(node)
    program.graph_module.recompile()


class _Stored:
    """The tensors of a program, by the nodes of its graph that stand for them."""

    def __init__(self, program: "ExportedProgram") -> None:
        self.program, self.specs = program, program.graph_signature.input_specs
        self.names = {spec.arg.name: spec.target for spec in self.specs if spec.target}

    def __contains__(self, node: Any) -> bool:
        return getattr(node, "op", "") == "placeholder" and node.name in self.names

    def _place(self, name: str) -> Any:
        return (
            self.program.state_dict if name in self.program.state_dict else self.program.constants
        )

    def read(self, node: "Node") -> "Tensor":
        name = self.names[node.name]
        found: Tensor = self._place(name)[name]
        return found.detach()

    def exchange(self, node: "Node", tensor: "Tensor") -> None:
        from torch import nn

        name = self.names[node.name]
        self._place(name)[name] = nn.Parameter(tensor, requires_grad=False)

    def add_bias(self, weight: "Node", bias: "Tensor") -> "Node":
        """Store a bias under the name that it would have in the module."""
        from torch import nn
        from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

        name = self.names[weight.name].removesuffix("weight") + "bias"
        while name in self.names.values():
            name += "_folded"
        with self.program.graph.inserting_after(weight):
            node = self.program.graph.placeholder(f"{weight.name}_bias")
        node.meta["val"] = weight.meta["val"].new_empty(bias.shape)
        place = [spec.arg.name for spec in self.specs].index(weight.name)
        argument = TensorArgument(node.name)
        self.specs.insert(place + 1, InputSpec(InputKind.PARAMETER, argument, name))
        self.program.state_dict[name] = nn.Parameter(bias, requires_grad=False)
        self.names[node.name] = name
        return node

    def drop(self, node: "Node") -> None:
        """Remove a tensor that nothing uses any more."""
        name = self.names.pop(node.name)
        self.specs[:] = [spec for spec in self.specs if spec.arg.name != node.name]
        if name not in self.names.values():
            self._place(name).pop(name)
        self.program.graph.erase_node(node)


def _folds(stored: _Stored, norm: "Node") -> bool:
    """Tell whether a norm can go into the node that it reads."""
    layer: Any = norm.args[0]
    gamma, beta, mean, variance, trains = norm.args[1:6]
    kind = str(layer.target)
    if kind not in OUTPUTS or len(layer.users) > 1 or trains or mean is None or variance is None:
        return False
    own = [node for node in layer.args[WEIGHT : BIAS + 1] if node is not None]
    if not all(node in stored and len(node.users) == 1 for node in own):
        return False
    if not all(node is None or node in stored for node in (gamma, beta, mean, variance)):
        return False
    if OUTPUTS[kind] == 1 and len(layer.args) > GROUPS and layer.args[GROUPS] != 1:
        return False  # the weight of a group counts the outputs of that group alone
    return "linear" not in kind or layer.meta["val"].ndim == 2  # else channels are another axis


def _scale(stored: _Stored, layer: "Node", norm: "Node") -> None:
    """Scale a layer's weight, and scale and shift its bias, as the norm does to its output."""
    import torch

    nodes: Any = norm.args[1:5]
    gamma, beta, mean, variance = (None if node is None else stored.read(node) for node in nodes)
    assert mean is not None
    assert variance is not None
    weight: Any = layer.args[WEIGHT]
    bias: Any = layer.args[BIAS] if len(layer.args) > BIAS else None
    epsilon: Any = norm.args[7]
    gamma = torch.ones_like(mean) if gamma is None else gamma
    beta = torch.zeros_like(mean) if beta is None else beta
    before = torch.zeros_like(mean) if bias is None else stored.read(bias)
    factor = torch.rsqrt(variance + epsilon)
    shifted = (before - mean) * factor * gamma + beta
    whole = stored.read(weight)
    shape = [1] * whole.ndim
    shape[OUTPUTS[str(layer.target)]] = -1
    stored.exchange(weight, whole * (gamma * factor).reshape(shape))
    if bias is None:
        made = stored.add_bias(weight, shifted)
        layer.args = (*layer.args[:BIAS], made, *layer.args[BIAS + 1 :])
    else:
        stored.exchange(bias, shifted)
