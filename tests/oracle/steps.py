"""One case through the code of `tunelang/train`, as its workers call it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from tests.oracle import comparisons, held
from tests.oracle.cases import Case, fields
from tests.oracle.models import CONFIGS
from tests.oracle.tracker import Tracker, tracking
from tunelang.plan.ir import Weights
from tunelang.train import forward, judge, optimise, trainable
from tunelang.train.engines.engine import Unit
from tunelang.train.engines.single import Single
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED

Found = dict[str, dict[str, int]]
POLICIES = ("ppo", "grpo", "rloo")
SECOND = 2  # the update that is told of: the first one has no optimizer states yet


def measured(case: Case) -> Found:
    """Peaks by phase of the second update, and what rests before it."""
    policy = case.method in POLICIES  # whose masks are of replies alone
    share = 1.0 if policy else case.scored / (case.sequences * (case.length - 1))
    with tracking(share) as tracker, logits_at_once(case):
        tracker.supervised, tracker.experts = case.scored, experts_of(case)
        run(case, tracker)
    return {"peaks": tracker.peaks, "marks": tracker.marks}


def experts_of(case: Case) -> int:
    said = CONFIGS[case.model]
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    return next((int(said[name]) for name in names if name in said), 0)


def logits_at_once(case: Case) -> Any:
    """`plain` has all logits at once, whatever they take."""
    if case.loss == "plain":
        return mock.patch.object(forward, "LOGITS", 2**62)
    return mock.patch.object(forward, "LOGITS", forward.LOGITS)


def run(case: Case, tracker: Tracker) -> None:
    if case.method in POLICIES:
        from tests.oracle import policies

        policies.run(case, tracker)
        return
    step = SimpleNamespace(fields={}, lr=1e-3, precision=case.precision)
    trained = prepared(case, built(case))
    loss, modules, named = objective(case, trained)
    engine = Single()
    unit = Unit("main", modules, named, lambda own: optimise.optimizer(step, own))  # type: ignore[arg-type]
    engine.adopt([unit])
    for module in modules.values():
        module.train()
    for update in range(SECOND):
        last = update == SECOND - 1
        for at in range(case.accumulate):
            tracker.begin("forward" if last else "first")
            found = loss() / 3.0
            tracker.begin("backward" if last else "first")
            engine.backward("main", found, last=at == case.accumulate - 1)
            del found
        tracker.begin("optimizer" if last else "first")
        engine.step("main", 1.0)


def built(case: Case) -> Any:
    """The model as `train/model.py` loads it: in fp32 where it trains whole."""
    model = whole_model(case, storage_of(case))
    if case.weights == "qlora":
        held.hold(model)
    return model


def storage_of(case: Case) -> str:
    """The precision that weights are held in."""
    kind = Weights.model_construct(kind=case.weights, fields=fields(case))
    step: Any = SimpleNamespace(weights=kind, precision=case.precision)
    return trainable.storage(step)


def whole_model(case: Case, precision: str) -> Any:
    """A model that rests, in a precision."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    model = AutoModelForCausalLM.from_config(config(case), dtype=dtype)
    model.config.use_cache = False
    model.requires_grad_(False)
    model._tunelang_plain_head = not getattr(model.config, "final_logit_softcapping", None)
    return model.eval()


def config(case: Case) -> Any:
    said = dict(CONFIGS[case.model])
    return AutoConfig.for_model(said.pop("model_type"), **said)


def prepared(case: Case, model: Any, name: str = "default", *, recompute: bool = True) -> Any:
    """What trains, as `train/stage.py` makes it."""
    said = fields(case)
    if case.weights == "experts":
        layers = range(model.config.num_hidden_layers)
        first = getattr(model.config, "first_k_dense_replace", 0)
        said = {"selection": {str(at): [*range(case.chosen)] for at in layers if at >= first}}
    loaded = SimpleNamespace(model=model, origin=SimpleNamespace(quant=None), attached=())
    with mock.patch("tunelang.train.experts.fingerprint", lambda *_: ""):
        trained = trainable.make_trainable(
            loaded,  # type: ignore[arg-type]
            Weights.model_construct(kind=case.weights, fields=said),
            name,
        )
    if case.checkpointing and recompute:
        forward.causal(trained.model).gradient_checkpointing_enable({"use_reentrant": False})
    return trained


def objective(case: Case, trained: Any) -> tuple[Any, dict[str, nn.Module], dict[str, Tensor]]:
    """The loss of a micro-batch, what computes it, and what trains."""
    lens = Lens(case.precision, "cpu", 0)
    named = dict(trainable.parameters(trained))
    modules = {"model": trained.model}
    if case.method == "reward":
        head = nn.Linear(trained.model.config.hidden_size, 1, bias=False, dtype=torch.float32)
        named |= {"head.weight": head.weight}
        return reward_loss(case, trained, head, lens), {**modules, "head": head}, named
    if case.method == "dpo":
        other = whole_model(case, storage_of(case)) if case.reference == "own" else None
        return comparisons.loss_of(case, trained, lens, other), modules, named
    return lambda: sft_loss(case, trained, lens), modules, named


def sft_loss(case: Case, trained: Any, lens: Lens) -> Tensor:
    """`loss` of train/sft.py."""
    batch = forward.collate(rows_of(case), lens.pad, lens.device)
    with forward.autocast(lens.precision, lens.device):
        return forward.loss_sum(trained.model, batch)


def rows_of(case: Case) -> list[Row]:
    labels = [IGNORED] * case.prompt + [1] * (case.length - case.prompt)
    return [Row([1] * case.length, labels) for _ in range(case.sequences)]


def reward_loss(case: Case, trained: Any, head: nn.Linear, lens: Lens) -> Any:
    """`loss` of train/reward.py."""
    teacher = judge.Judge(trained, head, lens, 0.0, margin=False)
    one = SimpleNamespace(
        replies=[[1] * case.length] * 2, pairs=[(0, 1)], margin=0.0, best=None, longest=case.length
    )
    lists = [one] * case.rows
    return lambda: judge.list_loss(teacher, lists, judge.scored(teacher, lists))  # type: ignore[arg-type]
