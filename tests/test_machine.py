from importlib.metadata import version

from paredown import machine


def test_a_package_that_is_not_there_is_told_absent() -> None:
    found = machine.versions("numpy", "no-such-package")
    assert found == {"numpy": version("numpy"), "no-such-package": "absent"}


def test_int8_instructions_are_some_of_this_cpu() -> None:
    told = set(machine.int8_instructions().split())
    assert told <= machine.instructions() & set(machine.INT8_INSTRUCTIONS) or told == {"none"}
