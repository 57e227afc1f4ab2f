"""Rules for layers, which produce channels and read them; see `trace.py`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paredown.prune.label_store import CONVOLUTION, NORM, LabelStore
from paredown.prune.labels import tensors
from paredown.prune.units import NOTHING


def _weighted(
    store: LabelStore,
    output: Tensor,
    images: Tensor,
    weight: Any,
    axis: int,
    groups: int,
    transposed: bool,
) -> None:
    """Label the output of a convolution or a Linear, with channels along `axis`.

    A transposed weight has its inputs first.
    """
    incoming, (layer, why) = store.along(images, axis), store.layer(weight)
    width = output.shape[axis]
    if groups > 1 and (transposed or not isinstance(layer, CONVOLUTION)):
        layer, why = None, why or "of transposed groups, or of groups by function"
    if layer is None:
        store.units.fix(incoming, f"it feeds a layer {why}")
        outgoing = store.units.new(width)
        store.units.fix(outgoing, why)
    elif groups > 1 and groups == len(incoming) == width and not transposed:
        outgoing = torch.where(incoming == NOTHING, store.units.new(width), incoming)  # depthwise
        store.units.fix(outgoing[incoming == NOTHING], "they are the channels of the image")
        store.use(layer, "out", outgoing)
    else:
        source = store.source(weight)
        assert source is not None
        outgoing = store.outputs_of(source, width)
        axes = ("1", "0") if transposed else ("0", "1")
        out, into = axes if isinstance(layer, Tensor) else ("out", "in")
        store.use(layer, into, incoming)
        store.use(layer, out, outgoing, produces=True)
        for labels in (incoming, outgoing) if groups > 1 else ():
            parts = labels.view(groups, -1)
            store.units.merge(parts[:1], parts)
    shape = [-1 if index == axis % output.ndim else 1 for index in range(output.ndim)]
    store.put(output, outgoing.view(shape).expand(output.shape))


def convolved(
    store: LabelStore,
    output: Tensor,
    input: Tensor,
    weight: Tensor,
    *args: Any,
    transposed: bool = False,
    **kwargs: Any,
) -> None:
    """Label the output of a convolution, (N, C, ...), or (C, ...) for an image without a batch."""
    rest = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
    names = ("bias", "stride", "padding", *rest)
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    _with_bias(store, named.get("bias"), weight)
    axis = 1 if transposed or output.ndim == weight.ndim else 0
    _weighted(store, output, input, weight, axis, named.get("groups") or 1, transposed)


deconvolved = partial(convolved, transposed=True)


def linear(
    store: LabelStore, output: Tensor, input: Tensor, weight: Tensor, bias: Any = None
) -> None:
    """Label the output of a Linear, (..., features)."""
    _with_bias(store, bias, weight)
    _weighted(store, output, input, weight, -1, 1, transposed=False)


def matmul(store: LabelStore, output: Tensor, input: Tensor, other: Tensor, **_: Any) -> None:
    """Label a product with a parameter of two axes, which has its inputs first."""
    _weighted(store, output, input, other, -1, 1, transposed=True)


def _with_bias(store: LabelStore, bias: Any, weight: Tensor) -> None:
    """Tie a bias that is not the layer's own to the outputs of the weight."""
    if not isinstance(bias, Tensor) or id(bias) not in store.owners:
        return
    source, (layer, _) = store.source(weight), store.layer(weight)
    if source is not None and layer is not store.owners[id(bias)][0][0]:
        store.use(bias, "0", store.outputs_of(source, len(bias)))


def normed(store: LabelStore, output: Tensor, input: Tensor, *args: Any, **kwargs: Any) -> None:
    """Label the output of a norm as its input, and tie its parameters to the channels."""
    layer = store.running[-1] if store.running else None
    parameters = [value for value in (*args, *kwargs.values()) if id(value) in store.owners]
    for parameter in parameters:
        owner, _ = store.owners[id(parameter)][0]
        layer = owner if isinstance(owner, (*NORM, nn.PReLU)) else parameter
    last = isinstance(layer, (nn.LayerNorm, nn.RMSNorm))
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)) and len(layer.normalized_shape) > 1:
        store.units.fix(store.of(input), f"{type(layer).__name__} has a number for each pixel")
    elif isinstance(layer, (*NORM, nn.PReLU)):
        labels = store.along(input, -1 if last else 1)
        if not (isinstance(layer, nn.PReLU) and layer.num_parameters == 1):
            store.use(layer, "norm", labels)
        if isinstance(layer, nn.GroupNorm):
            parts = labels.view(layer.num_groups, -1)
            store.units.merge(parts[:1], parts)
    elif parameters:
        store.units.fix(store.of(input), "a norm by function reads them")
    store.put(output, store.of(input))


def attended(
    store: LabelStore, output: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> None:
    """Label scaled dot product attention, (..., length, width)."""
    store.units.merge(store.along(query, -1), store.along(key, -1))
    labels = store.of(value)[..., :1, :]
    if labels.ndim == output.ndim and labels.shape[-1] == output.shape[-1]:
        store.put(output, labels.expand(output.shape))


def recurrent(store: LabelStore, output: Any, *args: Any, **kwargs: Any) -> None:
    """Tie the channels of a sequence to the columns of a recurrent layer's weights."""
    layer, sequence = store.running[-1], args[0]
    opaque(store, output, *args[1:], **kwargs)
    for name, weight in layer.named_parameters(recurse=False):
        if name.startswith("weight_ih_l0"):
            store.use(weight, "1", store.along(sequence, -1))


def opaque(store: LabelStore, output: Any, *args: Any, **kwargs: Any) -> None:
    """Fix the channels that enter and leave a layer of fixed width."""
    kind = type(store.running[-1]).__name__ if store.running else "a layer"
    for tensor in tensors((args, kwargs)):
        if tensor.is_floating_point() and id(tensor) not in store.owners:
            store.units.fix(store.of(tensor), f"{kind} has a fixed width")
    for tensor in tensors(output):
        if tensor.ndim:
            fixed = store.units.new(1)
            store.units.fix(fixed, f"{kind} has a fixed width")
            store.put(tensor, fixed.view([1] * tensor.ndim).expand(tensor.shape))


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
