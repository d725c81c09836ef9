"""PostgreSQL as it is run to be always there: Patroni, etcd and HAProxy, each PostgreSQL on a machine (a network namespace) of its own."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from faults import done_under_load, within
from postgres import programs
from processes import await_that, fail, free_ports, install, say
from world import Impossible, World

BRIDGE, NET = "kwchaos", "10.213.7"
NAMES = ("a", "b", "c")
MOST = 45


def fail_over(binary, scale):
    """The primary's machine dies, or its cable is pulled; writes go on at the standby that has everything."""
    needed = all(install(program, *packages) for program, *packages in (
        ("/usr/bin/patroni", "patroni", "python3-etcd", "python3-psycopg2"), ("etcd", "etcd-server"), ("haproxy", "haproxy")))
    if not needed or os.geteuid() != 0:
        raise Impossible("Patroni, etcd and HAProxy, and the right to make network namespaces, are needed")
    rows = []
    with Cluster() as cluster:
        for what, hurt in (("killed (kill -9 of it and of Patroni)", Cluster.kill), ("cut off from the network", Cluster.cut)):
            for how in ("a URL with three hosts", "HAProxy"):
                url = cluster.url(how)

                def act(load):
                    leader = cluster.leader()
                    before = cluster.state()
                    since = time.monotonic()
                    hurt(cluster, leader)
                    # It goes on answering for as long as connections take to die: served is who is served by the new one.
                    changed = await_that(lambda: cluster.leader() not in (None, leader), 90, 0.2)
                    took = load.served_after(since + (changed or 0), 90)
                    measured, broken = within("hurt → writes are back", None if took is None or changed is None else changed + took, MOST)
                    measured.append(f"{before} → {cluster.leader()}; new primary after {changed or 0:.0f} s")
                    time.sleep(5)
                    cluster.mend(leader)
                    return measured, broken

                with World(binary, nodes=1, url=url) as world:
                    fault = f"the primary is {what}; keywheel reaches PostgreSQL by {how}"
                    holds = f"writes are back within {MOST} s, no exchange that was answered is lost, no login ends"
                    rows.append(done_under_load(world, fault, holds, act))
                cluster.await_whole()
    return rows


class Cluster:
    """Three PostgreSQL under Patroni, replicating synchronously; one etcd; one HAProxy."""

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="keywheel-patroni-"))
            self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.folder.chmod(0o755)
            self.machines()
            self.etcd()
            self.children = {}
            self.stack.callback(lambda: [self.kill(name) for name in self.children])
            for name in NAMES:
                self.start(name)
            self.await_whole()
            self.haproxy()
            self.databases = 0
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def machines(self):
        ip("link", "add", BRIDGE, "type", "bridge")
        self.stack.callback(ip, "link", "del", BRIDGE)
        ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for name in NAMES:
            space = f"{BRIDGE}-{name}"
            ip("netns", "add", space)
            self.stack.callback(ip, "netns", "del", space)
            ip("link", "add", f"{BRIDGE}{name}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"{BRIDGE}{name}", "master", BRIDGE, "up")
            ip("-n", space, "addr", "add", f"{address(name)}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")

    def etcd(self):
        client, [peer] = f"http://{NET}.1:2379", free_ports(1)
        peers = f"http://127.0.0.1:{peer}"
        self.background("etcd", [
            "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"])
        if await_that(lambda: fetched(f"{client}/health"), 20, 0.1) is None:
            fail(f"etcd does not answer: {(self.folder / 'etcd.log').read_text()[-400:]}")

    def haproxy(self):
        [self.port] = free_ports(1)
        servers = "\n".join(f"  server {name} {address(name)}:5432 check port 8008" for name in NAMES)
        (self.folder / "haproxy.cfg").write_text(f"""
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
listen primary
  bind 127.0.0.1:{self.port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
""")
        self.background("haproxy", ["haproxy", "-f", self.folder / "haproxy.cfg"])

    def background(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.stack.callback(child.wait)
        self.stack.callback(child.kill)

    def start(self, name):
        owner = pwd.getpwnam("postgres")
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        where = address(name)
        (self.folder / f"{name}.yml").write_text(json.dumps({
            "scope": "keywheel", "name": name,
            "restapi": {"listen": f"{where}:8008", "connect_address": f"{where}:8008"},
            "etcd3": {"host": f"{NET}.1:2379"},
            "bootstrap": {
                # Twenty seconds without a sign of life from the primary, and another one is.
                "dcs": {
                    "ttl": 20, "loop_wait": 5, "retry_timeout": 5, "synchronous_mode": True, "maximum_lag_on_failover": 1_048_576,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"wal_log_hints": "on", "max_connections": 100}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}],
            },
            "postgresql": {
                "listen": f"{where}:5432", "connect_address": f"{where}:5432", "data_dir": str(folder / "data"),
                "bin_dir": str(programs()), "pgpass": str(folder / "pgpass"),
                "pg_hba": ["local all all trust", f"host all all {NET}.0/24 trust", f"host replication all {NET}.0/24 trust"],
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "postgres"}},
                "parameters": {"unix_socket_directories": str(folder)},
            },
            "tags": {},
        }))
        with open(self.folder / f"{name}.log", "ab") as log:
            self.children[name] = subprocess.Popen(
                ["ip", "netns", "exec", f"{BRIDGE}-{name}", "setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups",
                 "/usr/bin/patroni", self.folder / f"{name}.yml"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "HOME": str(folder)})

    def kill(self, name):
        """All that runs on that machine, at once."""
        listed = subprocess.run(["ip", "netns", "pids", f"{BRIDGE}-{name}"], capture_output=True, text=True).stdout.split()
        for process in map(int, listed):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.children[name].wait()

    def cut(self, name):
        ip("link", "set", f"{BRIDGE}{name}", "down")

    def mend(self, name):
        ip("link", "set", f"{BRIDGE}{name}", "up")
        if self.children[name].poll() is not None:
            self.start(name)

    def members(self):
        """Roles and states by name, as some machine that answers says."""
        for name in NAMES:
            with contextlib.suppress(OSError, ValueError, TypeError):
                said = json.loads(fetched(f"http://{address(name)}:8008/cluster"))
                return {member["name"]: (member["role"], member["state"]) for member in said["members"]}
        return {}

    def leader(self):
        """The primary that says of itself that it is."""
        for name in NAMES:
            if fetched(f"http://{address(name)}:8008/primary"):
                return name
        return None

    def state(self):
        return ", ".join(f"{name} {role}" for name, (role, _) in sorted(self.members().items()))

    def await_whole(self):
        def whole():
            members = self.members()
            roles = sorted(role for role, _ in members.values())
            return len(members) == 3 and all(state in ("running", "streaming") for _, state in members.values()) and "leader" in roles and "sync_standby" in roles

        if await_that(whole, 180, 0.5) is None:
            fail(f"the cluster is not whole: {self.members()}")
        say(f"patroni: {self.state()}")

    def url(self, how):
        """Of a database of its own."""
        self.databases += 1
        name = f"keywheel{self.databases}"
        made = subprocess.run([programs() / "createdb", "-h", address(self.leader()), "-U", "postgres", name], capture_output=True, text=True)
        if made.returncode != 0:
            fail(made.stderr)
        if how == "HAProxy":
            return f"postgres://postgres@127.0.0.1:{self.port}/{name}?sslmode=disable"
        hosts = ",".join(f"{address(name)}:5432" for name in NAMES)
        return f"postgres://postgres@{hosts}/{name}?sslmode=disable&target_session_attrs=read-write&connect_timeout=2"


def address(name):
    return f"{NET}.{11 + NAMES.index(name)}"


def ip(*arguments):
    ran = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if ran.returncode != 0 and arguments[1] != "del":
        fail(f"ip {' '.join(arguments)}: {ran.stderr}")


def fetched(url):
    """The body of a successful answer, or nothing."""
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.read()
    return None
