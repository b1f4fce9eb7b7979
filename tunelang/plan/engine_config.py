"""What DeepSpeed and accelerate are told of a step: the same for the worker and for people.

Keys are those of deepspeed 0.19 (runtime/config.py, runtime/zero/config.py) and of accelerate 1.15
(commands/config/config_args.py). Every value is written out: `auto` would be filled in by others.
"""

from __future__ import annotations

import json
from typing import Any

from tunelang.plan.ir import Place, Step

# Elements. DeepSpeed's defaults of 5e8 and 1e9 hold 3.7 GiB whatever the model (planner notes,
# section 3); a bucket of 5e7 is 100 MB of bf16, past which a ring gains no bandwidth, and 5e8 live
# parameters are two layers of a 70-billion model.
REDUCE_BUCKET, PREFETCH_BUCKET = 50_000_000, 50_000_000
LIVE = 500_000_000
PERSIST = 100_000  # smaller parameters (norms, biases) stay whole: DeepSpeed's own default
HEADS = ("reward_modeling", "ppo")  # methods that train a scalar head beside the model
NEVER = 1_000_000_000  # updates between DeepSpeed's own lines of progress: the worker reports


def zero_stage(place: Place) -> int:
    """1 to 3, or 0 where DeepSpeed has no part in the step."""
    return int(place.sharding.removeprefix("zero")) if place.sharding.startswith("zero") else 0


def deepspeed_config(step: Step) -> dict[str, Any]:
    """The configuration of `deepspeed.initialize`; the worker passes the optimizer itself.

    Losses arrive divided by the rows of the whole batch, so DeepSpeed must neither average nor
    scale; and it would refuse an optimizer that is not its own unless told to take it.
    """
    place = step.place
    return {
        "train_batch_size": place.micro * place.accumulate * place.processes,
        "train_micro_batch_size_per_gpu": place.micro,
        "gradient_accumulation_steps": place.accumulate,
        "managed_gradient_accumulation": False,  # the worker says when an update ends
        "gradient_clipping": float(step.fields.get("max_grad_norm", 1.0)),
        "bf16": {"enabled": halved(step)},
        "zero_optimization": _zero(place),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": NEVER,
        "wall_clock_breakdown": False,
    }


def halved(step: Step) -> bool:
    """Do weights that train compute in bf16, and only their optimizer's masters in fp32?

    DeepSpeed knows one type for all that trains. A head is read in fp32 and adapters are held so
    (L13, L14), and where there are any, everything that trains is: autocast does the rest.
    """
    whole = step.weights is not None and step.weights.kind == "full"
    return step.precision != "fp32" and whole and step.method not in HEADS


def _zero(place: Place) -> dict[str, Any]:
    stage, memory = zero_stage(place), {"device": "cpu", "pin_memory": place.device == "cuda"}
    sizes: dict[str, Any] = {"stage": stage, "reduce_bucket_size": REDUCE_BUCKET}
    sizes["allgather_bucket_size"] = REDUCE_BUCKET
    # A CPU has no second stream; stage 1 cannot where the caller says when an update ends.
    sizes["overlap_comm"] = place.device == "cuda" and stage >= 2
    if stage == 3:
        sizes |= {
            "stage3_prefetch_bucket_size": PREFETCH_BUCKET,
            "stage3_param_persistence_threshold": PERSIST,
            "stage3_max_live_parameters": LIVE,
            "stage3_max_reuse_distance": LIVE,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    if place.offload != "none":
        sizes["offload_optimizer"] = memory
    if place.offload == "all" and stage == 3:
        sizes["offload_param"] = memory
    return sizes


def accelerate_config(step: Step, deepspeed_file: str | None = None) -> dict[str, Any] | None:
    """The same place for `accelerate launch`; `deepspeed_file` holds `deepspeed_config`.

    Our own worker does not read it. None for several processes of a CPU that DeepSpeed does not
    start: accelerate launches one, whatever `num_processes` says, and leaves FSDP out.
    """
    place = step.place
    if place.device == "cpu" and place.processes > 1 and not zero_stage(place):
        return None
    settings: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": _distributed(place),
        "main_training_function": "main",
        "mixed_precision": "no" if step.precision == "fp32" else step.precision,
        "num_machines": place.nodes,
        "num_processes": place.processes,
        "machine_rank": 0,
        "same_network": True,
        "rdzv_backend": "static" if place.nodes == 1 else "c10d",
        "use_cpu": place.device == "cpu",
    }
    if zero_stage(place):
        del settings["mixed_precision"]  # DeepSpeed's file says it; accelerate refuses it twice
        settings["deepspeed_config"] = {
            "deepspeed_config_file": deepspeed_file,
            "deepspeed_multinode_launcher": "standard",
            "zero3_init_flag": zero_stage(place) == 3,
        }
    if place.sharding == "fsdp2":
        settings["fsdp_config"] = _fsdp(place)
    return settings


def _distributed(place: Place) -> str:
    if zero_stage(place):
        return "DEEPSPEED"
    if place.sharding == "fsdp2":
        return "FSDP"
    return "NO" if place.processes == 1 else "MULTI_GPU"


def _fsdp(place: Place) -> dict[str, Any]:
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": True,
        "fsdp_offload_params": place.offload == "all",
        "fsdp_activation_checkpointing": place.checkpointing,
        "fsdp_cpu_ram_efficient_loading": True,
        "fsdp_state_dict_type": "SHARDED_STATE_DICT",
    }


def yaml(settings: dict[str, Any]) -> str:
    """Settings one or two deep as YAML; a scalar of JSON is one of YAML too."""
    lines = []
    for name, value in sorted(settings.items()):
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {inner}: {json.dumps(value[inner])}" for inner in sorted(value)]
        else:
            lines.append(f"{name}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"
