"""The catalogue of GPUs: its figures hold against each other, and every card is found by name."""

from __future__ import annotations

import pytest

from tunelang.catalog import gpus
from tunelang.catalog.gpus import Gpu

EIGHT_BITS = ("8.9", "9.0", "10.0", "10.3", "12.0", "gfx942", "gfx950")  # Ada, Hopper, CDNA 3 on


def known(name: str) -> Gpu:
    gpu = gpus.find(name)
    assert gpu, name
    return gpu


def test_there_are_enough_and_each_name_leads_to_one() -> None:
    """At least 40 cards; no name or alias is that of two, whatever its case and hyphens."""
    assert len(gpus.every()) >= 40
    for gpu in gpus.every():
        for name in (gpu.name, *gpu.aliases):
            assert known(name) is gpu, name
            assert known(name.lower()) is gpu and known(name.replace("-", " ")) is gpu


def test_aliases_say_something_that_names_do_not() -> None:
    """An alias that is another's name but for case and hyphens would be dead."""
    plain = [gpus.plain(name) for gpu in gpus.every() for name in (gpu.name, *gpu.aliases)]
    assert sorted(set(plain)) == sorted(plain)


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100-80GB"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA GB200", "GB200"),
        ("NVIDIA GH200 480GB", "GH200-96GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIe-40GB"),
        ("NVIDIA A800-SXM4-80GB", "A800-80GB"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX 2080 Ti"),
        ("NVIDIA TITAN RTX", "TITAN RTX"),
        ("Quadro RTX 8000", "RTX 8000"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100-16GB"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("Tesla V100-PCIE-16GB", "V100-PCIe-16GB"),
        ("Tesla P100-PCIE-16GB", "P100-16GB"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_cards_are_found_as_drivers_print_them(printed: str, name: str) -> None:
    """The names of nvidia-smi and rocm-smi."""
    assert known(printed).name == name


def test_a_name_that_is_almost_one_is_not_taken() -> None:
    """The wrong size or a slip of the pen leads to no card."""
    assert all(gpus.find(name) is None for name in ("H100-80G", "H100-40GB", "RTX 409", "", "GPU"))


@pytest.mark.parametrize("gpu", gpus.every(), ids=lambda gpu: gpu.name)
def test_figures_of_a_card_hold_against_each_other(gpu: Gpu) -> None:
    """Usable memory, eight bits against sixteen, the link's kind, operations to a byte."""
    assert 0.97 <= gpu.usable / gpu.memory <= 1.075  # decimal GB printed, binary GB built in
    assert gpu.fp8 == (gpu.capability in EIGHT_BITS)
    if gpu.fp8:
        assert gpu.fp8_flops / gpu.flops == pytest.approx(2, rel=0.03)
    fast = gpu.by.startswith(("NVLink", "Infinity Fabric"))
    assert (gpu.link > 32e9) == fast  # PCIe 5 x16 is 63 GB/s, half of which collectives reach
    assert gpu.link < gpu.bandwidth
    assert 20 < gpu.flops / gpu.bandwidth < 600
    assert gpu.bf16 == (gpu.architecture not in ("Pascal", "Volta", "Turing"))
    assert gpu.flash == gpu.bf16
    assert gpu.vendor == ("amd" if gpu.name.startswith("MI") else "nvidia")
    assert gpu.kind in ("data centre", "workstation", "consumer") and gpu.source


@pytest.mark.parametrize(
    "slow_to_fast",
    [
        ["P100-16GB", "V100-32GB", "A100-80GB", "H100-80GB", "B200"],
        ["RTX 2080 Ti", "RTX 3090", "RTX 4090", "RTX 5090"],
        ["RTX 3060", "RTX 3070", "RTX 3080", "RTX 3080 Ti", "RTX 3090", "RTX 3090 Ti"],
        ["RTX 4060 Ti 16GB", "RTX 4070", "RTX 4070 Ti Super", "RTX 4080", "RTX 4080 Super"],
        ["RTX A4000", "RTX A4500", "RTX A5000", "RTX A6000"],
        ["H20-96GB", "H100-PCIe", "H100-NVL", "H100-80GB"],
        ["MI250X", "MI300X", "MI350X", "MI355X"],
        ["L4", "L40", "L40S"],
    ],
)
def test_generations_come_in_their_order(slow_to_fast: list[str]) -> None:
    """Operations a second grow from generation to generation and from model to model."""
    flops = [known(name).flops for name in slow_to_fast]
    assert flops == sorted(flops) and len(set(flops)) == len(flops)


# Tensor cores, boost clock in MHz, operations a clock and core: 16-bit products with sums in fp32,
# which GeForce and L40 do at half the rate (white papers of the generations).
BUILT = {
    "V100-32GB": (640, 1530, 128),
    "V100-PCIe-32GB": (640, 1380, 128),
    "T4": (320, 1590, 128),
    "RTX 8000": (576, 1770, 128),
    "TITAN RTX": (576, 1770, 128),
    "RTX 2080 Ti": (544, 1545, 64),
    "A100-80GB": (432, 1410, 512),
    "A30": (224, 1440, 512),
    "A40": (336, 1740, 256),
    "A10": (288, 1695, 256),
    "RTX A6000": (336, 1800, 256),
    "RTX A5000": (256, 1695, 256),
    "RTX A4500": (224, 1650, 256),
    "RTX A4000": (192, 1560, 256),
    "RTX 3090 Ti": (336, 1860, 128),
    "RTX 3090": (328, 1695, 128),
    "RTX 3080 Ti": (320, 1665, 128),
    "RTX 3080": (272, 1710, 128),
    "RTX 3070": (184, 1725, 128),
    "RTX 3060": (112, 1777, 128),
    "L40": (568, 2490, 128),
    "L40S": (568, 2520, 256),
    "RTX 6000 Ada": (568, 2505, 256),
    "RTX 5000 Ada": (400, 2550, 256),
    "RTX 4500 Ada": (240, 2580, 256),
    "RTX 4000 Ada": (192, 2175, 256),
    "RTX 4090": (512, 2520, 128),
    "RTX 4080 Super": (320, 2550, 128),
    "RTX 4080": (304, 2505, 128),
    "RTX 4070 Ti Super": (264, 2610, 128),
    "RTX 4070": (184, 2475, 128),
    "RTX 4060 Ti 16GB": (136, 2535, 128),
    "H100-80GB": (528, 1830, 1024),
    "H100-PCIe": (456, 1620, 1024),
    "RTX 5090": (680, 2407, 128),
    "RTX 5080": (336, 2617, 128),
    "RTX 5070 Ti": (280, 2452, 128),
    "RTX 5070": (192, 2512, 128),
}


@pytest.mark.parametrize("name", BUILT)
def test_operations_are_cores_times_clock(name: str) -> None:
    """A second way to each data sheet's figure: dense, and with sums in fp32."""
    cores, clock, operations = BUILT[name]
    assert known(name).flops == pytest.approx(cores * clock * 1e6 * operations, rel=0.015)
