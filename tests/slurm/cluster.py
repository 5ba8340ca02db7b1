"""A Slurm cluster of two nodes on this machine, in a folder of its own: munged, slurmctld, and a slurmd for each node.

`python tests/slurm/cluster.py FOLDER` starts one and keeps it until Ctrl-C or SIGTERM, to try `resrepro submit` by
hand. It needs root, and Debian's packages slurmctld, slurmd, slurm-client and munge.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo")
NODES = ("node1", "node2")

# Neither cgroups nor an accounting database. A job has two seconds between SIGTERM and SIGKILL. A requeued one starts
# again when its old credential has expired. A node that does not answer for 20 seconds is taken for dead.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=2
SlurmdTimeout=20
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,requeue_delay=0
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 State=UNKNOWN
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Say what this machine lacks for a cluster; empty where it lacks nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"Slurm is not installed: no {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [s.getsockname()[1] for s in sockets]


@dataclass
class Cluster:
    """Starts the daemons and ends them.

    Args:
        environment: in which Slurm's commands find the cluster.
    """

    folder: Path
    environment: dict[str, str]
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.out").open("ab") as output:
            daemon = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
        self._daemons.append(daemon)
        time.sleep(0.5)
        return daemon

    def start_node(self, name: str) -> None:
        self._nodes[name] = self.start("slurmd", "-D", "-f", self.environment["SLURM_CONF"], "-N", name)

    def kill_node(self, name: str) -> None:
        """Kill the node's slurmd, the slurmstepd of each step and the steps' processes, as a power cut does."""
        ours = {f"SLURM_CONF={self.environment['SLURM_CONF']}".encode(), f"SLURMD_NODENAME={name}".encode()}
        steps = {pid for pid in _pids() if ours <= {*_read(pid, "environ").split(b"\0")}}
        parents = {int(_read(pid, "stat").rpartition(b")")[2].split()[1]) for pid in steps}
        keepers = {pid for pid in parents if _read(pid, "comm").startswith(b"slurmstepd")}
        self._nodes[name].kill()
        for pid in (*keepers, *steps):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_until_idle(self) -> None:
        """Wait for all nodes.

        Raises:
            RuntimeError: they did not come up in a minute; the message has the ends of the logs.
        """
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self._said("sinfo", "-h", "-N", "-o", "%T") == ["idle"] * len(NODES):
                return
            time.sleep(0.5)
        paths = (*self.folder.glob("*.log"), *self.folder.glob("*.out"))
        logs = [path.read_text(errors="replace")[-1500:] for path in paths]
        raise RuntimeError("the nodes did not come up:\n" + "\n".join(logs))

    def end(self) -> None:
        self._said("scancel", "--user=root")
        until = time.monotonic() + 30
        while self._said("squeue", "-h") and time.monotonic() < until:  # slurmd waits for what is left of its jobs
            time.sleep(0.5)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def _said(self, *command: str) -> list[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout.split()


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start the cluster; end it.

    Raises:
        RuntimeError: the nodes did not come up.
    """
    for name in ("state", *NODES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host = platform.node().partition(".")[0]
    conf.write_text(CONFIGURATION.format(folder=folder, host=host, user="root", ports=_free_ports(3)))
    started = Cluster(folder, {**os.environ, "PATH": _path(), "SLURM_CONF": str(conf)})
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    try:
        started.start(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", *munge
        )
        started.start("slurmctld", "-D", "-f", str(conf))
        for name in NODES:
            started.start_node(name)
        started.wait_until_idle()
        yield started
    finally:
        started.end()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background ignores
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with cluster(Path(sys.argv[1]).resolve()) as running:
        print(f"export SLURM_CONF={running.environment['SLURM_CONF']}", flush=True)
        with suppress(KeyboardInterrupt):
            time.sleep(10**6)
