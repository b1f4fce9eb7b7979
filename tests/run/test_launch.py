"""Command lines, environments and refusals of the launchers."""

import os
import sys
from pathlib import Path

import pytest

from tunelang.launch import deepspeed, environment, local, machine, torchrun
from tunelang.launch.launcher import Job, host_memory
from tunelang.launch.libraries import Library, libraries, within
from tunelang.launch.machine import Gpu, Machine
from tunelang.launch.rendezvous import Node, interface, own_address
from tunelang.plan.ir import Estimate, HubModel
from tunelang.run import refusal

CPU_ONLY = Machine("Linux", "cpu", 2, frozenset(), 8 << 30, ())
TWO_GPUS = Machine("Linux", "cpu", 8, frozenset(), 8 << 30, (Gpu("H100", 80 << 30, "570"),) * 2)
NODE = Node(1, 4, "127.0.0.1", 29400)
GOLDEN = {
    "local": "-m tunelang.train /w/step.json --home /h",
    "torchrun": "-m torch.distributed.run --standalone --nproc-per-node=2 "
    "-m tunelang.train /w/step.json --home /h",
    "deepspeed": "-m deepspeed.launcher.runner --num_gpus 2 --master_port 30042 --no_local_rank "
    "--module tunelang.train /w/step.json --home /h",
}


@pytest.fixture
def placed(make):
    def build(**place):
        step = make("sft")
        return step.model_copy(update={"place": step.place.model_copy(update=place)})

    return build


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_command_lines(placed, name):
    """Each launcher's whole command line."""
    step = placed(device="cuda", gpus=2, processes=2, sharding="zero2", launcher=name)
    launcher = refusal.launcher(name)
    command = launcher.command(Job(step, Path("/w/step.json"), Path("/h")))
    assert command == [sys.executable, *GOLDEN[name].split()]


def test_the_command_line_of_one_of_several_machines(placed):
    """torchrun is told where the first machine listens, that it is not this one, and by which
    address this one is reached; each machine starts its share of the processes."""
    step = placed(nodes=4, processes=8, sharding="ddp", launcher="torchrun")
    command = torchrun.command(Job(step, Path("/w/step.json"), Path("/h"), node=NODE))
    expected = (
        "-m torch.distributed.run --nnodes=4 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:29400 "
        f"--rdzv-id={step.key} --rdzv-conf=is_host=0 --local-addr=127.0.0.1 --nproc-per-node=2 "
        "-m tunelang.train /w/step.json --home /h"
    )
    assert command == [sys.executable, *expected.split()]


def test_gloo_is_given_the_interface_that_leads_to_the_others(placed):
    """Not the one that the machine's own name means; one that the user chose stays."""
    assert own_address(NODE) == "127.0.0.1"
    assert interface("127.0.0.1") == "lo"
    assert interface("192.0.2.1") is None
    step = placed(nodes=4)
    assert (
        environment.environment(step, hub=False, given={}, node=NODE)["GLOO_SOCKET_IFNAME"] == "lo"
    )
    given = {"GLOO_SOCKET_IFNAME": "ib0"}
    found = environment.environment(step, hub=False, given=given, node=NODE)
    assert found["GLOO_SOCKET_IFNAME"] == "ib0"
    assert "GLOO_SOCKET_IFNAME" not in environment.environment(step, hub=False, given={})


def test_local_needs_the_gpu_it_is_given(placed):
    """A CUDA stage is refused on a machine without a GPU, and taken on one with."""
    step = placed(device="cuda", gpus=1, gpu="h100")
    assert local.LAUNCHER.cannot(step, CPU_ONLY) == "it needs 1 h100 GPU and this machine has none"
    assert local.LAUNCHER.cannot(step, TWO_GPUS) is None


def test_local_is_one_process(placed):
    """Several processes need another launcher."""
    step = placed(device="cuda", gpus=2, processes=2, sharding="ddp")
    assert "one process" in local.LAUNCHER.cannot(step, TWO_GPUS)


def test_torchrun_counts_gpus(placed):
    """Four GPUs asked for, two here; over two machines two are enough."""
    step = placed(device="cuda", gpus=4, processes=4, sharding="ddp", launcher="torchrun")
    assert torchrun.cannot(step, TWO_GPUS) == "it needs 4 GPUs and this machine has 2"
    both = step.model_copy(update={"place": step.place.model_copy(update={"nodes": 2})})
    assert torchrun.cannot(both, TWO_GPUS) is None


def test_a_stage_of_several_machines_is_not_started_on_one(placed):
    """TL714 says how it is started on each, unless this run is one of as many."""
    step = placed(nodes=4, processes=4, sharding="ddp", launcher="torchrun")
    (found,) = refusal.refusals([step], CPU_ONLY, ())
    assert "planned for 4 machines and this is one" in found.message
    assert "`--node 0` to `--node 3`" in found.help
    assert refusal.refusals([step], CPU_ONLY, (), NODE) == []


def test_zero_needs_deepspeed(placed, monkeypatch):
    """Where a step is under ZeRO, DeepSpeed is a library like others: one error, its command."""
    here = {"train": (), "deepspeed": (Library("deepspeed", ">=0.19.8,<0.20", None),)}
    monkeypatch.setattr(refusal, "libraries", here.__getitem__)
    ways = {"processes": 2, "launcher": "torchrun"}
    steps = [placed(**ways, sharding=way) for way in ("zero1", "zero3")]
    (found,) = refusal.refusals(steps, CPU_ONLY, ())
    assert found.name == "training-not-installed"
    assert found.help == f"{sys.executable} -m pip install 'deepspeed>=0.19.8,<0.20'"
    assert refusal.refusals([placed(**ways, sharding="fsdp2")], CPU_ONLY, ()) == []


def test_stages_that_lack_the_same_are_one_error(placed):
    """Two stages for GPUs that are not here, and one that needs another number of them."""
    steps = [placed(device="cuda", gpus=count) for count in (1, 1, 1)]
    steps[1] = steps[1].model_copy(update={"name": "judge"})
    steps[2] = placed(device="cuda", gpus=2)
    found = refusal.refusals(steps, CPU_ONLY, ())
    assert [each.message.count("`") // 2 - 1 for each in found] == [2, 1]
    assert f"stages `{steps[0].name}`, `judge` cannot run here" in found[0].message


def test_deepspeed_runs_zero_only(placed):
    """Plain data parallelism and several machines are torchrun's."""
    step = placed(processes=2, sharding="ddp", launcher="deepspeed")
    assert deepspeed.cannot(step, TWO_GPUS) == "it runs zero1, zero2 and zero3, not sharding `ddp`"
    two = placed(processes=2, nodes=2, sharding="zero3", launcher="deepspeed")
    assert "`torchrun` joins" in deepspeed.cannot(two, TWO_GPUS)


def test_refusal_names_the_profiles(placed):
    """TL714 says why, and which profiles the recipe has."""
    step = placed(device="cuda", gpus=1)
    (found,) = refusal.refusals([step], CPU_ONLY, ("laptop", "pod"))
    assert (found.code, found.name) == ("TL714", "backend-cannot")
    assert "this machine has none" in found.message
    assert "`--profile laptop` or `--profile pod`" in found.help


def test_unknown_launcher_is_refused(placed):
    """A plan made where a plug-in launcher was installed is refused where it is not."""
    step = placed(launcher="plugged_in")
    (found,) = refusal.refusals([step], CPU_ONLY, ())
    assert "no such launcher is installed" in found.message


def test_missing_library_gives_the_command(placed, monkeypatch):
    """What is not installed is told before any worker, with the exact pip command."""
    here = (Library("torch", ">=2.8,<3", None), Library("peft", ">=0.21,<0.22", "0.21.2"))
    monkeypatch.setattr(refusal, "libraries", lambda _: here)
    (found,) = refusal.refusals([placed()], CPU_ONLY, ())
    assert found.name == "training-not-installed"
    assert found.help == f"{sys.executable} -m pip install 'torch>=2.8,<3'"


def test_other_version_is_a_warning(placed, monkeypatch):
    """A version outside the range runs, with a warning that names both."""
    here = (Library("trl", ">=1.16,<1.17", "1.17.0"),)
    monkeypatch.setattr(refusal, "libraries", lambda _: here)
    (found,) = refusal.refusals([placed()], CPU_ONLY, ())
    assert (found.name, found.severity) == ("untried-version", "warning")
    assert "trl 1.17.0 (supported >=1.16,<1.17)" in found.message


def test_nothing_to_run_refuses_nothing(monkeypatch):
    """A finished recipe needs no training libraries."""
    monkeypatch.setattr(refusal, "libraries", lambda _: (Library("torch", "", None),))
    assert refusal.refusals([], CPU_ONLY, ()) == []


def test_extras_are_those_of_the_package():
    """The libraries and their ranges are read from the package, not written twice."""
    asked = {library.name: library.supported for library in libraries("train")}
    assert asked["trl"] == ">=1.16,<1.17"
    assert {"torch", "transformers", "peft", "accelerate", "datasets"} <= asked.keys()


@pytest.mark.parametrize(
    ("version", "supported", "holds"),
    [
        ("2.13.0+cpu", ">=2.8,<3", True),
        ("3.0.0", ">=2.8,<3", False),
        ("2.7.9", ">=2.8,<3", False),
        ("5.23.0.dev0", ">=5.23,<5.24", True),
        ("1.16", ">=1.16.0,<1.17", True),
        ("0.9", "!=0.9", False),
        ("7", "", True),
    ],
)
def test_versions_compare_by_number(version, supported, holds):
    """Ranges compare numbers, not text; what follows the digits does not count."""
    assert within(version, supported) is holds


def test_environment_is_steady(placed):
    """Threads, waiting, hashing and offline state are set before Python starts."""
    found = environment.environment(placed(threads=3), hub=True, given={"HOME": "/x", "PATH": "/y"})
    assert found["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/y"]
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "3"
    assert found["OMP_WAIT_POLICY"] == "passive"
    assert found["PYTHONHASHSEED"] == "0"
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["DS_ACCELERATOR"] == "cpu"
    assert found["PYTHONSAFEPATH"] == "1"
    assert found["HOME"] == "/x"


def test_hub_only_when_named_and_allowed(make):
    """The hub is reached by a step that names it, with the user's consent."""
    step = make("sft", inputs={"model": HubModel(id="a/b", revision="c")})
    assert "HF_HUB_OFFLINE" not in environment.environment(step, hub=True, given={})
    assert environment.environment(step, hub=False, given={})["HF_HUB_OFFLINE"] == "1"


def test_gpus_are_read_from_nvidia_smi(tmp_path, monkeypatch):
    """Name, memory and driver of each visible GPU; none where the tool fails."""
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'NVIDIA H100, PCIe, 81559, 570.1'\necho 'T4, 15360, 570.1'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpus() == (
        Gpu("NVIDIA H100, PCIe", 81559 << 20, "570.1"),
        Gpu("T4", 15360 << 20, "570.1"),
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert len(machine.gpus()) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpus() == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    fake.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpus() == ()


@pytest.mark.parametrize(
    ("device", "host", "asked"), [("cpu", 0, 7), ("cuda", 0, 0), ("cuda", 40 << 30, 41)]
)
def test_a_job_asks_for_the_memory_of_its_machine(placed, device, host, asked):
    """Of a CPU what its processes take at the most; beside GPUs what is predicted, or nothing."""
    needs = {"peak": 3 << 30, "peak_low": 3 << 30, "peak_high": 3 << 30, "host": host}
    zeros = dict.fromkeys(("parameters", "trainable", "allocated", "usable"), 0)
    seconds = dict.fromkeys(("seconds_low", "seconds", "seconds_high"), 1.0)
    rest = {"terms": {}, "phase": "end", "dollars": None, "basis": "none"}
    step = placed(device=device, processes=2)
    predicted = step.model_copy(update={"estimate": Estimate(**needs, **zeros, **seconds, **rest)})
    assert host_memory(predicted) == asked
    assert host_memory(step) == 0
