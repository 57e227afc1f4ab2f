import pytest

from paredown.report.widths import read_layers, widths


def network(*channels: int) -> dict[str, dict[str, int]]:
    return {f"conv{at}": {"channels": of, "macs": 100 * of} for at, of in enumerate(channels)}


def test_a_network_is_compared_with_what_was_made_of_it() -> None:
    runs = [
        (1, {"baseline": network(8, 9, 9), "distill": network(16, 32), "prune": network(8, 16)}),
        (2, {"baseline": network(8, 9, 9), "distill": network(16, 32), "prune": network(8, 8)}),
    ]
    (table,) = widths(runs)
    assert table.before == "distill"
    assert table.layers == ("conv0", "conv1")
    assert table.columns == {"distill": (16, 32), "prune, run 1": (8, 16), "prune, run 2": (8, 8)}
    assert table.macs == {"distill": 4800, "prune, run 1": 2400, "prune, run 2": 1600}
    assert table.shares["prune, run 2"] == (0.5, 0.5)
    assert table.shares["distill"] == (1600 / 4800, 3200 / 4800)


def test_equal_widths_share_a_column_and_int8_adds_none() -> None:
    stages = {"baseline": network(4), "prune": network(2), "quantize": network(2)}
    (table,) = widths([(1, stages), (2, stages), (4, stages)])
    assert list(table.columns) == ["baseline", "prune, runs 1-2, 4"]


def test_networks_of_other_widths_have_tables_of_their_own() -> None:
    runs = [
        (1, {"baseline": network(4), "prune": network(2)}),
        (2, {"baseline": network(6), "prune": network(2)}),
    ]
    assert [table.columns["baseline"] for table in widths(runs)] == [(4,), (6,)]


def test_a_run_that_changed_no_width_has_no_table() -> None:
    assert widths([(1, {"baseline": network(4), "quantize": network(4)})]) == []
    assert widths([]) == []


@pytest.mark.parametrize(
    "content", [None, [], {"baseline": []}, {"a": {"conv": {"channels": 3}}}, {"a": {"conv": 3}}]
)
def test_what_is_no_record_of_layers_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        read_layers(content)


def test_a_record_of_layers_is_read_as_it_is() -> None:
    content = {"baseline": network(4, 5), "prune": {}}
    assert read_layers(content) == content
