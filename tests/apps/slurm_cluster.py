"""A Slurm of its own on this machine: munged, slurmctld and a slurmd for each of four nodes, gpu01 to gpu04, in namespaces
of their own, so that nothing of it is seen outside and nothing is left. The nodes have addresses of their own.

  why_not()          the reason why it cannot be here, or None
  enter()            runs this program again in the namespaces; does not return
  Cluster(folder)    starts it; needs to be inside
"""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

NODES = [f"gpu{n:02}" for n in range(1, 5)]
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def why_not():
    for program in ("slurmctld", "slurmd", "srun", "sbatch", "scontrol", "scancel", "munged", "unshare", "ip"):
        if shutil.which(program, path=SBIN) is None:
            return f"there is no {program} (on Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "slurmd needs root"
    if subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode != 0:
        return "this machine allows no namespaces (unshare --mount --net --pid)"
    return None


def enter():
    os.execvpe(NAMESPACES[0], [*NAMESPACES, sys.executable, *sys.argv],
               {**os.environ, "RINGTRON_INSIDE": "1", "PATH": SBIN})


def inside():
    return "RINGTRON_INSIDE" in os.environ


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        folder.chmod(0o755)
        self.make_network()
        self.write_configuration()
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        self.daemons = [self.start("munged", "--foreground", "--force", f"--key-file={folder}/munge/key",
                                   f"--socket={folder}/munge/socket", f"--pid-file={folder}/munge/pid",
                                   f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed")]
        self.until("munged", lambda: (folder / "munge/socket").exists())
        self.daemons.append(self.start("slurmctld", "-D"))
        self.daemons += [self.start("slurmd", "-D", "-N", node) for node in NODES]
        self.until("the nodes", lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == str(len(NODES)))

    def make_network(self):
        def ip(*words):
            subprocess.run(["ip", *words], check=True)
        ip("link", "set", "lo", "up")
        hosts = "127.0.0.1 localhost\n"
        for at, node in enumerate([*NODES, socket.gethostname()], 1):
            ip("address", "add", f"10.77.0.{at}/24", "dev", "lo")
            hosts += f"10.77.0.{at} {node}\n"
        (self.folder / "hosts").write_text(hosts)
        subprocess.run(["mount", "--bind", self.folder / "hosts", "/etc/hosts"], check=True)

    def write_configuration(self):
        folder, host = self.folder, socket.gethostname()
        (folder / "munge").mkdir(mode=0o755)
        (folder / "munge/key").write_bytes(os.urandom(128))
        (folder / "munge/key").chmod(0o400)
        for name in ["state", *[f"spool/{node}" for node in NODES]]:
            (folder / name).mkdir(parents=True)
        settings = {"ClusterName": "test", "SlurmctldHost": f"{host}(10.77.0.{len(NODES) + 1})", "SlurmUser": "root",
                    "SlurmctldPort": 6817, "AuthType": "auth/munge", "AuthInfo": f"socket={folder}/munge/socket",
                    "CredType": "cred/munge", "StateSaveLocation": folder / "state", "SlurmdSpoolDir": f"{folder}/spool/%n",
                    "SlurmctldPidFile": folder / "slurmctld.pid", "SlurmdPidFile": f"{folder}/%n.pid",
                    "SlurmctldLogFile": folder / "slurmctld.log", "SlurmdLogFile": f"{folder}/%n.log",
                    "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "SelectType": "select/linear",
                    "SchedulerType": "sched/backfill", "SchedulerParameters": "sched_interval=1,batch_sched_delay=0",
                    "MpiDefault": "none", "ReturnToService": 2, "SlurmdParameters": "config_overrides", "KillWait": 30, "JobRequeue": 1}
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        for at, node in enumerate(NODES, 1):
            text += f"NodeName={node} NodeHostname={host} NodeAddr=10.77.0.{at} Port={7000 + at} CPUs=8\n"
        text += f"PartitionName=all Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP\n"
        (folder / "slurm.conf").write_text(text)

    def start(self, *command):
        log = open(self.folder / "daemons.log", "ab")
        return subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)

    def until(self, what, done, seconds=120, text=lambda: ""):
        for _ in range(seconds * 10):
            if done():
                return
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s for {what}\n{text()[-3000:]}\n{self.logs()}")

    def logs(self):
        files = [self.folder / "daemons.log", *self.folder.glob("*.log")]
        return "\n".join(f"{f}:\n{f.read_text(errors='replace')[-2000:]}" for f in files if f.exists())

    def ask(self, *command):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60).stdout

    def submit(self, script, *options, environment=()):
        """Sends a batch script; returns its job number."""
        sent = subprocess.run(["sbatch", "--parsable", *[str(word) for word in options], str(script)], text=True,
                              capture_output=True, timeout=60, env={**os.environ, **dict(environment)})
        assert sent.returncode == 0, sent.stderr
        return sent.stdout.strip()

    def job(self, number):
        """What scontrol says of a job, as a dict."""
        return dict(word.split("=", 1) for word in self.ask("scontrol", "show", "job", number, "-o").split() if "=" in word)

    def wait(self, number, *states, seconds=300):
        """Waits until the job is in one of `states`, or has ended; returns its state."""
        ends = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY")
        self.until(f"job {number}", lambda: self.job(number).get("JobState") in (*ends, *states), seconds)
        return self.job(number)["JobState"]
