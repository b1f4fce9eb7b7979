"""Which of several processes failed first, and what is told of it."""

import pytest

from tunelang.run.failure import diagnostic
from tunelang.run.worker import Ending

# As torchrun of torch 2.13 wrote it when one of two processes was ended; paths are shortened.
LOG = """\
loading weights
[rank0]: Traceback (most recent call last):
[rank0]:     work.wait()
[rank0]: RuntimeError: Connection reset by peer
W1125 19:16:57 1 torch/distributed/elastic/multiprocessing/api.py:1028] Sending closing signal
E1125 19:16:57 1 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: -9)
Traceback (most recent call last):
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
tunelang.train FAILED
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 18185)  (SIGTERM)
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 18186)  (SIGKILL)
"""
OWN = "[rank1]: ValueError: the tensor is on fire\n"


@pytest.fixture
def told(make, tmp_path):
    """The diagnostic of a log, of a step that so many processes share."""

    def tell(text, processes=2):
        log = tmp_path / "stdout.log"
        log.write_text(text)
        step = make("sft")
        place = step.place.model_copy(update={"processes": processes})
        step = step.model_copy(update={"place": place})
        return diagnostic(step, Ending(1, None, False, log, 0), 2**30)

    return tell


def test_a_killed_process_is_named(told):
    """torchrun ends with 1: the first of its processes was killed, most likely for memory. What
    the other wrote because of that, and torchrun's own words, are not the reason."""
    found = told(LOG)
    assert "process 1 of stage `sft` was ended by SIGKILL" in found.message
    assert found.message.endswith("\n  | loading weights")
    assert "ran out of memory" in found.help and "goes on from the last checkpoint" in found.help


def test_what_the_first_process_raised_is_shown(told):
    """Its own lines, without torch's marks."""
    found = told(OWN + LOG.replace("exitcode  : -9", "exitcode  : 1"))
    assert "process 1 of stage `sft` ended with exit code 1" in found.message
    assert found.message.endswith("were\n  |  ValueError: the tensor is on fire")


def test_a_step_of_one_process_is_told_as_it_ended(told):
    """Whatever its log says of others."""
    assert "the worker of stage `sft` ended with exit code 1" in told(LOG, 1).message
