"""How labels go through layers, which make channels and read them; see `trace.py`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paredown.prune.labels import tensors
from paredown.prune.units import NOTHING

if TYPE_CHECKING:
    from paredown.prune.trace import Tracer

CONVOLUTION = nn.modules.conv._ConvNd
NORM = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def _weighted(
    tracer: "Tracer",
    output: Tensor,
    images: Tensor,
    weight: Any,
    axis: int,
    groups: int,
    transposed: bool,
) -> None:
    """Label what a convolution or a Linear gives.

    Args:
        tracer: Labels what is given.
        output: What the layer gave, with channels along `axis`.
        images: What it was given, with channels along `axis`.
        weight: Of the layer.
        axis: Of channels.
        groups: Of a convolution.
        transposed: Whether the weight has its inputs first.
    """
    taken, (layer, why) = tracer.along(images, axis), tracer.layer(weight)
    width = output.shape[axis]
    if groups > 1 and (transposed or not isinstance(layer, CONVOLUTION)):
        layer, why = None, why or "of transposed groups, or of groups by function"
    if layer is None:
        tracer.units.fix(taken, f"it feeds a layer {why}")
        made = tracer.units.new(width)
        tracer.units.fix(made, why)
    elif groups > 1 and groups == len(taken) == width and not transposed:
        made = torch.where(taken == NOTHING, tracer.units.new(width), taken)  # depthwise
        tracer.units.fix(made[taken == NOTHING], "they are the channels of the image")
        tracer.use(layer, "out", made)
    else:
        source = tracer.source(weight)
        assert source is not None
        made = tracer.made(source, width)
        axes = ("1", "0") if transposed else ("0", "1")
        out, into = axes if isinstance(layer, Tensor) else ("out", "in")
        tracer.use(layer, into, taken)
        tracer.use(layer, out, made, makes=True)
        for labels in (taken, made) if groups > 1 else ():
            parts = labels.view(groups, -1)
            tracer.units.merge(parts[:1].expand_as(parts).flatten(), labels)
    shape = [-1 if index == axis % output.ndim else 1 for index in range(output.ndim)]
    tracer.put(output, made.view(shape).expand(output.shape))


def convolved(
    tracer: "Tracer", output: Tensor, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any
) -> None:
    """Label what a convolution gives, (N, C, ...), or (C, ...) for an image without a batch."""
    names = ("bias", "stride", "padding", "dilation", "groups")
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    _with_bias(tracer, named.get("bias"), weight)
    axis = 1 if output.ndim == weight.ndim else 0  # a single image has no batch
    _weighted(tracer, output, input, weight, axis, named.get("groups") or 1, transposed=False)


def deconvolved(
    tracer: "Tracer", output: Tensor, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any
) -> None:
    """Label what a transposed convolution gives, (N, C, ...)."""
    names = ("bias", "stride", "padding", "output_padding", "groups", "dilation")
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    _with_bias(tracer, named.get("bias"), weight)
    _weighted(tracer, output, input, weight, 1, named.get("groups") or 1, transposed=True)


def linear(
    tracer: "Tracer", output: Tensor, input: Tensor, weight: Tensor, bias: Any = None
) -> None:
    """Label what a Linear gives, (..., features)."""
    _with_bias(tracer, bias, weight)
    _weighted(tracer, output, input, weight, -1, 1, transposed=False)


def matmul(tracer: "Tracer", output: Tensor, input: Tensor, other: Tensor, **_: Any) -> None:
    """Label a product with a parameter of two axes, which has its inputs first."""
    _weighted(tracer, output, input, other, -1, 1, transposed=True)


def _with_bias(tracer: "Tracer", bias: Any, weight: Tensor) -> None:
    """Let a bias that is not the layer's own go with the outputs of the weight."""
    if not isinstance(bias, Tensor) or id(bias) not in tracer.owners:
        return
    source, (layer, _) = tracer.source(weight), tracer.layer(weight)
    if source is not None and layer is not tracer.owners[id(bias)][0][0]:
        tracer.use(bias, "0", tracer.made(source, len(bias)))


def normed(tracer: "Tracer", output: Tensor, input: Tensor, *args: Any, **kwargs: Any) -> None:
    """Label what a norm gives: the same, and its numbers go with the channels."""
    layer = tracer.running[-1] if tracer.running else None
    parameters = [each for each in (*args, *kwargs.values()) if id(each) in tracer.owners]
    for parameter in parameters:
        owner, _ = tracer.owners[id(parameter)][0]
        layer = owner if isinstance(owner, (*NORM, nn.PReLU)) else parameter
    last = isinstance(layer, (nn.LayerNorm, nn.RMSNorm))
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)) and len(layer.normalized_shape) > 1:
        tracer.units.fix(tracer.of(input), f"{type(layer).__name__} has a number for each pixel")
    elif isinstance(layer, (*NORM, nn.PReLU)):
        labels = tracer.along(input, -1 if last else 1)
        if not (isinstance(layer, nn.PReLU) and layer.num_parameters == 1):
            tracer.use(layer, "norm", labels)
        if isinstance(layer, nn.GroupNorm):
            parts = labels.view(layer.num_groups, -1)
            tracer.units.merge(parts[:1].expand_as(parts).flatten(), labels)
    elif parameters:
        tracer.units.fix(tracer.of(input), "a norm by function reads them")
    tracer.put(output, tracer.of(input))


def attended(
    tracer: "Tracer", output: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> None:
    """Label scaled dot product attention, (..., length, width)."""
    tracer.units.merge(tracer.along(query, -1), tracer.along(key, -1))
    labels = tracer.of(value)[..., :1, :]
    if labels.ndim == output.ndim and labels.shape[-1] == output.shape[-1]:
        tracer.put(output, labels.expand(output.shape))


def recurrent(tracer: "Tracer", output: Any, *args: Any, **kwargs: Any) -> None:
    """Let the channels of a sequence go with the columns of a recurrent layer's weights."""
    layer, sequence = tracer.running[-1], args[0]
    opaque(tracer, output, *args[1:], **kwargs)
    for name, weight in layer.named_parameters(recurse=False):
        if name.startswith("weight_ih_l0"):
            tracer.use(weight, "1", tracer.along(sequence, -1))


def opaque(tracer: "Tracer", output: Any, *args: Any, **kwargs: Any) -> None:
    """Fix whatever goes through what has a width of its own."""
    kind = type(tracer.running[-1]).__name__ if tracer.running else "a layer"
    for tensor in tensors((args, kwargs)):
        if tensor.is_floating_point() and id(tensor) not in tracer.owners:
            tracer.units.fix(tracer.of(tensor), f"{kind} has a fixed width")
    for tensor in tensors(output):
        if tensor.ndim:
            fixed = tracer.units.new(1)
            tracer.units.fix(fixed, f"{kind} has a fixed width")
            tracer.put(tensor, fixed.view([1] * tensor.ndim).expand(tensor.shape))


LAYERS: dict[Any, Callable[..., None]] = {
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), convolved),
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), convolved),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), deconvolved),
    F.linear: linear,
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm), matmul),
    **dict.fromkeys((F.batch_norm, F.instance_norm, F.group_norm), normed),
    **dict.fromkeys((F.layer_norm, F.rms_norm, F.prelu, torch.prelu), normed),
    F.scaled_dot_product_attention: attended,
    F.multi_head_attention_forward: opaque,
    **dict.fromkeys((torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), recurrent),
}
