"""The widths of layers, as blocks of a report."""

from collections.abc import Mapping

from paredown.pictures.page import Block, Figures, Fold, Table, Text
from paredown.report.figures import layers_figure
from paredown.report.widths import Layers, Widths, widths


def layers_fold(layers: Mapping[int, Mapping[str, Layers]], count: int) -> Block:
    """Compare the layers of networks before and after."""
    blocks: list[Block] = []
    if len(layers) < count:
        shown = f"Those of {len(layers)} of the {count} runs are shown"
        blocks.append(Text(f"{shown}; the others are older than this record, or too many."))
    tables = widths(list(layers.items()))
    if layers and not tables:
        blocks.append(Text("No stage changed the width of a layer."))
    for number, table in enumerate(tables):
        blocks += _network_widths(table.brief(), len(table.columns), number)
    return Fold("The widths of the layers", blocks)


def _network_widths(table: Widths, count: int, number: int) -> list[Block]:
    """Lay out the widths of one network."""
    caption = f"output channels of each layer, before (in stage {table.before}) and after"
    columns, shares = table.columns, table.shares
    rows = [
        [name, *(f"{columns[who][place]} ({shares[who][place]:.1%})" for who in columns)]
        for place, name in enumerate(table.layers)
    ]
    rows.append(["MMACs", *(f"{macs / 1e6:.2f}" for macs in table.macs.values())])
    percent = {who: [round(100 * share, 2) for share in of] for who, of in shares.items()}
    channels_figure = layers_figure(table, columns, "channels", "channels")
    macs_figure = layers_figure(table, percent, "share of the MACs, %", "% of the MACs")
    figures = {
        f"widths{number}": (caption, channels_figure),
        f"shares{number}": ("share of the network's MACs per layer", macs_figure),
    }
    few = f" {len(columns)} of {count} networks, spread over their MACs, are shown."
    note = "Each layer's channels, and in brackets its share of the MACs."
    return [
        Text(note + (few if count > len(columns) else "")),
        Figures(figures),
        Table(["layer", *columns], rows, ("layer",)),
    ]
