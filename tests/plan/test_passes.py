"""What each pass decides, on recipes whose right answer anybody can see; and that a plan says why.

All are planned for hardware that a block names, so that they are the same on every machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.estimate.calibration import Calibration
from tunelang.plan import findings
from tunelang.plan.ir import Plan, Step
from tunelang.plan.passes import ORDER
from tunelang.rules.pages import CHECKOUT

GROUND = (CHECKOUT / "ground.tune").read_text()
CHAT = """stage chat: instruction_tuning {
  model = small
  data = talks
  template = "chatml"
  length = 1024 tokens
  batch = 64 sequences
  BODY
  on = box
}
"""


def found_in(folder: Path, text: str) -> findings.Findings:
    path = folder / "r.tune"
    path.write_text(GROUND + text)
    return findings.of_file(path)


def planned(folder: Path, text: str) -> Plan:
    """The plan of a recipe without errors."""
    found = found_in(folder, text)
    assert found.plan and not errors(found.found), errors(found.found)
    return found.plan


def errors(found: list[Diagnostic]) -> list[str]:
    return [f"{one.code} {one.message}" for one in found if one.severity is Severity.ERROR]


def chat(folder: Path, hardware: str, body: str = "") -> Step:
    """The one stage of `CHAT`, planned on a hardware block."""
    text = f"hardware box {{ {hardware} }}\n" + CHAT.replace("BODY", body)
    return step(planned(folder, text), "chat")


def step(plan: Plan, name: str) -> Step:
    return next(one for one in plan.steps if one.name == name)


def reasons(one: Step) -> str:
    return "\n".join(one.place.reasons)


def test_order_is_visible() -> None:
    """Layouts first, then places, then what follows from both, and money at the end."""
    names = ["laid_out", "place", "share", "sized", "recompute", "fuse", "reuse", "cost"]
    assert [each.__name__ for each in ORDER] == names


# --- fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("micro = 2 sequences", {"micro": 2, "accumulate": 4}),
        ("checkpointing = always", {"checkpointing": True}),
        ("checkpointing = never", {"checkpointing": False}),
        ("parallel { sharding = zero3 }", {"sharding": "zero3"}),
        ("parallel { sharding = fsdp2 }", {"sharding": "fsdp2"}),
        ("parallel { data = 8 }", {"processes": 8}),
        ("parallel { sharding = zero2, offload = optimizer }", {"offload": "optimizer"}),
    ],
)
def test_what_the_recipe_fixes_is_kept(
    tmp_path: Path, body: str, wanted: dict[str, object]
) -> None:
    """Not one of them is what the plan would surely choose; the reasons say whose choice it is."""
    place = chat(tmp_path, 'gpu = "H100-80GB", count = 8', body).place
    assert {name: getattr(place, name) for name in wanted} == wanted
    assert place.micro * place.accumulate * 8 == 64
    assert "recipe says so" in "\n".join(place.reasons) or "data" in body


def test_the_simplest_way_is_taken_where_all_fit(tmp_path: Path) -> None:
    """Half a billion weights fit each card whole: copies, nothing recomputed, nothing moved."""
    place = chat(tmp_path, 'gpu = "H100-80GB", count = 8').place
    assert (place.sharding, place.checkpointing, place.offload) == ("ddp", False, "none")
    assert "every device holds all that it needs" in "\n".join(place.reasons)


def test_nothing_waits_on_a_host_whose_memory_nobody_named(tmp_path: Path) -> None:
    """Full tuning of 8B: refused on one card, and possible with 512 GB of memory beside it."""
    text = 'hardware box { gpu = "A100-80GB"HOST }\n' + CHAT.replace("small", "base")
    text = text.replace("BODY", "lr = 1e-5")
    refused = found_in(tmp_path, text.replace("HOST", ""))
    assert any("TL701" in each for each in errors(refused.found))
    moved = step(planned(tmp_path, text.replace("HOST", ", host_memory = 512GB")), "chat").place
    assert moved.offload in ("optimizer", "all") and moved.processes == 1
    assert moved.launcher == "torchrun"


def test_a_way_that_cannot_be_done_is_refused(tmp_path: Path) -> None:
    """4-bit weights are not cut into shards, and beside a CPU nothing can wait."""
    text = 'hardware box { gpu = "H100-80GB", count = 2 }\n' + CHAT
    body = "weights = qlora(rank = 8)\n  lr = 1e-4\n  parallel { sharding = fsdp2 }"
    assert any(
        "TL714" in each for each in errors(found_in(tmp_path, text.replace("BODY", body)).found)
    )
    text = "hardware box { count = 2 }\n" + CHAT.replace("BODY", "parallel { offload = all }")
    assert any("TL714" in each for each in errors(found_in(tmp_path, text).found))


def test_a_batch_that_cannot_be_shared_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """64 rows on 6 cards; 60 and 66 would do. The plan never makes them 60."""
    text = 'hardware box { gpu = "H100-80GB", count = 3, nodes = 2 }\n' + CHAT.replace("BODY", "")
    found = found_in(tmp_path, text).found
    (refused,) = [one for one in found if one.code == "TL604"]
    assert refused.help and "60 or 66" in refused.help


def test_a_measurement_is_laid_over_the_formulas(tmp_path: Path) -> None:
    """Twice as slow as predicted, and a tenth more memory: both count, in a narrower band, and the
    plan names its basis."""
    path = tmp_path / "r.tune"
    body = CHAT.replace("BODY", "train = 500 steps\n  micro = 2 sequences\n  checkpointing = never")
    path.write_text(GROUND + 'hardware box { gpu = "H100-80GB" }\n' + body)
    measured = Calibration("H100-80GB", "torch 2.13", "2026-11-25", time=2.0, reserved=1.1)
    plain = findings.of_file(path).plan
    slower = findings.of_file(path, None, {"H100-80GB": measured}).plan
    assert plain and slower
    before, after = step(plain, "chat").estimate, step(slower, "chat").estimate
    assert before and after
    assert after.seconds > 1.9 * before.seconds
    assert after.peak == pytest.approx(1.1 * before.peak, rel=1e-6)
    assert after.seconds_high / after.seconds < before.seconds_high / before.seconds
    assert after.basis == "the calibration of H100-80GB, 3 steps, 2026-11-25"


# --- place --------------------------------------------------------------------------------------


def test_processes_of_a_cpu_share_its_memory_and_cores(tmp_path: Path) -> None:
    """Two processes of a machine of 16 GB and 8 cores: 8 GB and 4 threads each."""
    one = chat(
        tmp_path, "count = 2, memory = 64GB, cores = 8", "weights = lora(rank = 8)\n lr = 1e-4"
    )
    assert one.estimate and one.estimate.usable == 32 * 10**9
    place = one.place
    assert (place.processes, place.threads, place.gpus, place.device) == (2, 4, 0, "cpu")
    assert (place.launcher, place.sharding) == ("torchrun", "ddp")


def test_devices_of_all_machines_share_a_batch(tmp_path: Path) -> None:
    """2 nodes of 8: 16 processes, started by Slurm, with its options as plain numbers."""
    slurm = 'launcher = slurm(partition = "gpu", time = 12h)'
    place = chat(tmp_path, f'gpu = "H100-80GB", count = 8, nodes = 2, {slurm}').place
    assert (place.processes, place.nodes, place.gpus) == (16, 2, 16)
    assert place.micro * place.accumulate * 16 == 64
    assert place.launcher == "torchrun" and place.submit
    assert (place.submit.kind, place.submit.options) == (
        "slurm",
        {"partition": "gpu", "time": 43200},
    )


def test_a_search_of_shares_runs_in_one_process(tmp_path: Path) -> None:
    """The tasks of a mix are shared out; with DoReMi they are not, and the plan says so."""
    text = """hardware box { gpu = "H100-80GB", count = 2 }
mix both { talks = 50%, more = 50% }
data more extends talks { }
stage many: multi_task { model = small, data = both, template = "chatml", SHARES on = box }
"""
    shared = step(planned(tmp_path, text.replace("SHARES", "")), "many").place
    alone = step(planned(tmp_path, text.replace("SHARES", "shares = doremi,")), "many").place
    assert (shared.processes, alone.processes) == (2, 1)
    assert "runs in one process" in "\n".join(alone.reasons)


def test_a_launcher_that_starts_no_way_to_share_is_refused(tmp_path: Path) -> None:
    """DeepSpeed cannot hold ppo's two adapters: refused, and not seven cards left idle."""
    text = POLICY.replace("KIND", "lora(rank = 8)")
    text = text.replace("count = 8", "count = 8, launcher = deepspeed")
    (refused,) = errors(found_in(tmp_path, text).found)
    assert "TL714" in refused and "`ddp` or `fsdp2`" in refused


def test_sizes_are_of_all_machines(tmp_path: Path) -> None:
    """`data` counts the devices of every node: 8 of 16 are refused, and the fix writes 16."""
    text = 'hardware box { gpu = "H100-80GB", count = 8, nodes = 2 }\n' + CHAT
    found = found_in(tmp_path, text.replace("BODY", "parallel { data = 8 }")).found
    (wrong,) = [one for one in found if one.code == "TL705"]
    assert "8 devices and has 16" in wrong.message and wrong.fix
    assert wrong.fix.edits[0].text == "16"


def test_a_launcher_is_kept_to(tmp_path: Path) -> None:
    """DeepSpeed's own starts its own engine; one process is started as it is; `local` cannot start
    two."""
    place = chat(tmp_path, 'gpu = "H100-80GB", count = 2, launcher = deepspeed').place
    assert place.launcher == "deepspeed" and place.sharding.startswith("zero")
    place = chat(tmp_path, 'gpu = "H100-80GB", launcher = torchrun').place
    assert place.launcher == "local" and "needs no `torchrun`" in "\n".join(place.reasons)
    text = 'hardware box { gpu = "H100-80GB", count = 2, launcher = local }\n'
    found = found_in(tmp_path, text + CHAT.replace("BODY", "")).found
    assert any("it starts one process" in each for each in errors(found))


def test_pods_do_not_see_files_of_this_machine(tmp_path: Path) -> None:
    """Rows beside the recipe, on Kubernetes: refused when it is planned, and named."""
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n' * 80)
    there = 'launcher = kubernetes(image = "tune:1", storage = "claim")'
    text = f'hardware box {{ gpu = "H100-80GB", {there} }}\n' + CHAT.replace("BODY", "")
    assert not errors(found_in(tmp_path, text).found)
    mine = 'data mine = files("rows.jsonl", licence = "cc0")\n' + text.replace("talks", "mine")
    (refused,) = errors(found_in(tmp_path, mine).found)
    assert "TL714" in refused and "rows.jsonl" in refused


def test_what_runs_in_one_process_says_so(tmp_path: Path) -> None:
    """Chosen layers on eight cards use one, with a hint; asked to share, they are refused."""
    body = "weights = layers(last = 2)"
    text = 'hardware box { gpu = "H100-80GB", count = 8 }\n' + CHAT.replace("BODY", body)
    found = found_in(tmp_path, text)
    assert found.plan and not errors(found.found)
    place = step(found.plan, "chat").place
    assert (place.processes, place.gpus, place.accumulate * place.micro) == (1, 1, 64)
    assert [one.name for one in found.found].count("idle-gpus") == 1
    asked = text.replace(body, f"{body}\n  parallel {{ data = 8 }}")
    assert any("TL714" in each for each in errors(found_in(tmp_path, asked).found))


# --- share, recompute, fuse, reuse ----------------------------------------------------------------

POLICY = """hardware box { gpu = "H100-80GB", count = 8 }
defaults stage { on = box, seed = 0, weights = KIND }
stage judge: reward_modeling { model = base, data = pairs }
stage policy: ppo {
  policy = base
  reward = judge
  prompts = asks
  train = 4 steps
  kl { target = 6.0 }
}
"""


def test_adapters_of_a_policy_stand_on_one_base(tmp_path: Path) -> None:
    """LoRA: reference, value and reward cost three models of 15 GiB less than in full."""
    told = reasons(step(planned(tmp_path, POLICY.replace("KIND", "lora(rank = 8)")), "policy"))
    assert "reference, value and reward on the base of what trains: 44.9 GiB less" in told
    told = reasons(step(planned(tmp_path, POLICY.replace("KIND", "full")), "policy"))
    assert "reference, value and reward: models of their own" in told


PREFERRED = """hardware box { gpu = "H100-80GB" }
defaults stage { on = box, seed = 0, weights = lora(rank = 8), lr = 1e-5 }
stage chat: instruction_tuning { model = base, data = talks, template = "llama3" }
stage one: dpo { model = chat, data = pairs, reference_log_probs = precomputed }
stage other extends one { beta = 0.5 }
"""


def test_a_reference_is_computed_once_for_all(tmp_path: Path) -> None:
    """Two values of beta read the same log-probabilities, which one step makes on one card."""
    plan = planned(tmp_path, PREFERRED)
    (made,) = [one for one in plan.steps if one.method == "reference_log_probs"]
    assert "computed once for `one`, `other`" in reasons(made)
    assert (made.place.gpus, made.place.processes) == (1, 1) and made.estimate
    assert "no reference in memory" in reasons(step(plan, "one"))


def test_a_change_of_what_it_follows_from_computes_it_again(tmp_path: Path) -> None:
    """beta is no part of the reference's key; the length is."""
    text = PREFERRED.partition("stage other")[0]
    before = "data = pairs, "
    keys = {
        change: step(
            planned(tmp_path, text.replace(before, f"{before}{change}, ")), "one.reference"
        ).key
        for change in ("beta = 0.2", "beta = 0.3", "length = 512 tokens")
    }
    assert keys["beta = 0.2"] == keys["beta = 0.3"] != keys["length = 512 tokens"]


def test_what_could_be_fused_is_told_and_not_claimed(tmp_path: Path) -> None:
    """The second stage starts where the first ends, in the same place: a note on it alone."""
    text = POLICY.replace(
        "stage judge",
        'stage chat: instruction_tuning { model = base, data = talks, template = "llama3" }\n'
        "stage judge",
    )
    text = text.replace("reward_modeling { model = base", "reward_modeling { model = chat")
    plan = planned(tmp_path, text.replace("KIND", "lora(rank = 8)"))
    noted = {one.name for one in plan.steps if "one worker for both" in reasons(one)}
    assert noted == {"judge"}
    assert "this version starts two" in reasons(step(plan, "judge"))
    others = planned(tmp_path, PREFERRED)
    assert not [one.name for one in others.steps if "one worker for both" in reasons(one)]


def test_what_is_made_twice_is_made_once(tmp_path: Path) -> None:
    """Two stages with one key: the second costs nothing, and says whose result it takes."""
    text = 'hardware box { gpu = "H100-80GB", price = $2/h }\n' + CHAT.replace("BODY", "")
    plan = planned(tmp_path, text + "stage again extends chat { }\n")
    first, second = step(plan, "chat"), step(plan, "again")
    assert first.key == second.key
    assert first.estimate and first.estimate.dollars and second.estimate
    assert (second.estimate.seconds, second.estimate.dollars) == (0.0, 0.0)
    assert "as `chat` makes" in reasons(second)


def test_a_plan_is_the_same_bytes_twice(tmp_path: Path) -> None:
    """Nothing of the day, the run or the order of a dictionary is in it."""
    text = POLICY.replace("KIND", "full")
    assert planned(tmp_path, text).model_dump_json() == planned(tmp_path, text).model_dump_json()
