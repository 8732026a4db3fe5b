"""A Slurm of one node on this machine's loopback, to try the batch files here.

Run: python experiments/slurm/local_slurm.py sbatch --wait experiments/slurm/single_gpu.sbatch

It starts munged, slurmctld and slurmd (Debian: apt-get install slurm-wlm munge) in a
temporary folder, runs the command with SLURM_CONF set, and stops all of them. Jobs run as
the user who starts this; a requeued one starts again after some seconds, not two minutes.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
PATIENCE_S = 20.0

CONFIG = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
ReturnToService=2
MailProg=/bin/true
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=600000 Gres=gpu:8
PartitionName=local Nodes=localhost Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Start Slurm; yield the environment in which its commands find it; stop it.

    Raises:
        RuntimeError: a program is missing, or does not come up.
    """
    if missing():
        raise RuntimeError(
            f"not installed: {', '.join(missing())} (apt-get install slurm-wlm munge)"
        )
    environment = dict(os.environ)
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        for inside in ("state", "spool"):
            (folder / inside).mkdir()
        host = socket.gethostname().split(".")[0]
        config = folder / "slurm.conf"
        config.write_text(
            CONFIG.format(
                folder=folder,
                host=host,
                user=pwd.getpwuid(os.getuid()).pw_name,
                port=_free_port(),
                node_port=_free_port(),
            )
        )
        # As many cores, as much memory and as many GPUs as the batch files ask for: it believes.
        for number in range(8):
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-7]\n")
        environment["SLURM_CONF"] = str(config)
        daemons: list[subprocess.Popen[bytes]] = []
        try:
            key = folder / "munge.key"
            key.write_bytes(secrets.token_bytes(1024))
            key.chmod(0o400)
            files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
            options = [f"--{option}={folder}/munge.{end}" for option, end in files.items()]
            commands = (
                ["munged", "--foreground", "--force", f"--key-file={key}", *options],
                ["slurmctld", "-D", "-c", "-f", str(config)],
                ["slurmd", "-D", "-f", str(config), "-N", "localhost"],
            )
            for command in commands:
                with (folder / f"{command[0]}.out").open("wb") as log:
                    daemons.append(
                        subprocess.Popen(
                            command,
                            env=environment,
                            stdout=log,
                            stderr=log,
                            stdin=subprocess.DEVNULL,
                            start_new_session=True,
                        )
                    )
                if command[0] == "munged":
                    _wait(lambda: (folder / "munge.socket").exists(), folder, daemons)
            _wait(lambda: _idle(environment), folder, daemons)
            yield environment
        finally:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    ["scancel", "--full", "--quiet", "--partition=local"],
                    env=environment,
                    timeout=10,
                    check=False,
                    capture_output=True,
                )
            for daemon in reversed(daemons):
                daemon.terminate()
            for daemon in reversed(daemons):
                try:
                    daemon.wait(timeout=3)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()


def _idle(environment: dict[str, str]) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%t"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() in ("idle", "mix", "alloc")


def _wait(ready: Callable[[], bool], folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        dead = [daemon for daemon in daemons if daemon.poll() is not None]
        if dead or time.monotonic() > deadline:
            said = "\n".join(
                f"{log.name}: {log.read_text(errors='replace')[-1500:]}"
                for log in sorted([*folder.glob("*.log"), *folder.glob("*.out")])
            )
            raise RuntimeError(f"Slurm did not come up:\n{said}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Run the command of the command line within a Slurm."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with running() as environment:
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
    except RuntimeError as error:
        print(f"local_slurm: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
