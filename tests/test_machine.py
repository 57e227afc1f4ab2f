import os
from importlib.metadata import version

import pytest

from paredown.host import machine


def test_a_package_that_is_not_there_is_told_absent() -> None:
    found = machine.versions("numpy", "no-such-package")
    assert found == {"numpy": version("numpy"), "no-such-package": "absent"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux grants cores")
def test_cores_that_are_not_granted_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    assert machine.cores_here() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.cores_here() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_int8_instructions_are_some_of_this_cpu() -> None:
    told = set(machine.int8_instructions().split())
    assert told <= machine.instructions() & set(machine.INT8_INSTRUCTIONS) or told == {"none"}


AMD = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC

processor	: 1
model		: 18
"""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (AMD, "AMD EPYC (AuthenticAMD, cpu family 25, model 17)"),
        ("model name : Some CPU\n", "Some CPU"),
    ],
)
def test_cpus_of_one_name_are_told_apart_by_vendor_family_and_model(
    table: str, expected: str
) -> None:
    assert machine.named(machine.cpu_table(table)) == expected
