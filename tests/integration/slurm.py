"""A Slurm of one machine on the loopback, in a folder of its own: munged, slurmctld and slurmd.

Needs root and Debian's `slurm-wlm` and `munge`. Nothing outside the folder is changed but what the
daemons themselves keep under /run.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch")
LIMIT = 30.0  # seconds a daemon may take to answer
CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
JobRequeue=1
KillWait=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why Slurm cannot be started here; empty where it can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"no {', '.join(absent)} here"
    return "" if os.geteuid() == 0 else "its daemons are started by root"


class Slurm:
    """The daemons, and the environment in which commands find them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        config = folder / "slurm.conf"
        self.environment: Mapping[str, str] = {**os.environ, "SLURM_CONF": str(config)}
        (folder / "spool").mkdir(parents=True)
        (folder / "state").mkdir()
        host = socket.gethostname().partition(".")[0]
        ports = {"ctld": _port(), "slurmd": _port()}
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 * 3 // 4
        config.write_text(CONFIG.format(host=host, folder=folder, memory=memory, **ports))

    def start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{name}={self.folder}/munge.{end}" for name, end in files.items()]
        socket_file = f"--socket={self.folder}/munge.socket"
        self._spawn("munged", "--foreground", "--force", socket_file, *options)
        self._until(lambda: (self.folder / "munge.socket").exists())
        self._spawn("slurmctld", "-D")
        self._spawn("slurmd", "-D")
        self._until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"))

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints, be it an answer or a complaint."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    def _spawn(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as log:
            self.processes.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            )

    def _until(self, ready) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + LIMIT
        while not ready():
            ended = [process.args for process in self.processes if process.poll() is not None]
            assert not ended, self._logs()
            assert time.monotonic() < end, self._logs()
            time.sleep(0.1)

    def _logs(self) -> str:
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"{path.name}:\n{path.read_text()[-1500:]}" for path in logs)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
