"""Real mounts for tests: a server (zkreplica or Apache ZooKeeper), zkfs in the foreground on a temporary
mountpoint, and shell commands in it. Nothing outlives the test: mounts are unmounted, or aborted through
fusectl when they hang; processes are ended by their pid, and by the kernel should the test be killed."""
import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

import zkfs_test as t

FUSECTL = "/sys/fs/fuse/connections"


class Apache(t.Replica):
    """Apache ZooKeeper's standalone server with the interface of t.Replica."""

    def start(self, wait=True):
        with open(self.config_path, "a") as f:
            f.write("admin.enableServer=false\n")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", "/etc/zookeeper/conf:/usr/share/java/*",
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=t._die_with_parent)
        if wait:
            self.wait_serving()

    def wait_serving(self, timeout=60.0):
        """A port that accepts is not yet a server that serves, here."""
        def serves():
            t.check(self.process.poll() is None, "the server ended")
            try:
                return "Mode:" in self.word("srvr", 2)
            except OSError:
                return False
        t.wait_for(serves, timeout, "the Apache server serving on port %d" % self.port, step=0.05)


CONTAINER_CHECK = "znode.container.checkIntervalMs"
# Keys of a server that looks five times a second for what its containers and TTL znodes let go.
FAST = {CONTAINER_CHECK: 200}


def new_server(port, **config):
    """The kind that ZKFS_SERVER names. It is the caller's to close, and closed at exit. Sessions may be long: none is
    to expire because the machine is busy."""
    keys = {"tickTime": 500, "maxSessionTimeout": 60000}
    keys.update(config)
    kind = Apache if os.environ.get("ZKFS_SERVER") == "apache" else t.Replica
    if CONTAINER_CHECK in keys:  # Apache's server reads no such key, but a property of that name
        os.environ["JDK_JAVA_OPTIONS"] = "-D%s=%s" % (CONTAINER_CHECK, keys[CONTAINER_CHECK])
    try:
        server = kind(port, keys)
    finally:
        os.environ.pop("JDK_JAVA_OPTIONS", None)
    t.Replica.alive.remove(server)  # it may serve more than one test
    atexit.register(server.close)
    return server


def is_mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == path for line in f)


class Mount:
    """zkfs -f on a temporary folder. `source` is HOST:PORT…[/ROOT]; options a string for -o. `program` is another
    zkfs, below the build's folder."""
    alive = []

    def __init__(self, source, options="", wait=True, env=None, program="fs/zkfs"):
        self.folder = tempfile.mkdtemp(prefix="zkfs-mount-")
        self.path = os.path.join(self.folder, "zk")
        self.log_path = os.path.join(self.folder, "log.txt")
        os.mkdir(self.path)
        self.device = None
        Mount.alive.append(self)
        command = [os.path.join(t.BUILD, program), source, self.path, "-f"]
        if options:
            command += ["-o", options]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, **(env or {})),
                                            preexec_fn=t._die_with_parent)
        if wait:
            self.wait_mounted()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_mounted(self):
        def mounted():
            t.check(self.process.poll() is None, "zkfs ended:\n" + self.log())
            return "mounted source=" in self.log()
        t.wait_for(mounted, 30, "the mount")
        self.device = os.minor(os.stat(self.path).st_dev)

    def worker(self):
        """The pid of the process that serves the mount; `process` is its supervisor."""
        def child():
            t.check(self.process.poll() is None, "zkfs ended:\n" + self.log())
            with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
                pids = f.read().split()
            return int(pids[0]) if len(pids) == 1 else None
        return t.wait_for(child, 10, "a worker", step=0.001)

    @contextlib.contextmanager
    def paused(self):
        """The process that serves the mount stands still meanwhile."""
        worker = self.worker()
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)

    def kill_all(self):
        """SIGKILL for both at once: what is mounted stays, and nobody serves it."""
        worker = self.worker()
        self.process.send_signal(signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)

        def is_dead():
            with open("/proc/%d/stat" % worker) as f:
                return f.read().rpartition(")")[2].split()[0] == "Z"
        t.wait_for(is_dead, 10, "the worker's end")
        self.process.kill()
        self.process.wait()

    def abort(self):
        """Ends every request in the kernel: a hung mount is no reason for a hung test."""
        if self.device is None:
            return
        if not os.path.isdir("%s/%d" % (FUSECTL, self.device)):
            subprocess.run(["mount", "-t", "fusectl", "fusectl", FUSECTL], stderr=subprocess.DEVNULL)
        try:
            with open("%s/%d/abort" % (FUSECTL, self.device), "w") as f:
                f.write("1")
        except OSError:
            pass  # it has gone meanwhile

    def unmount(self, timeout=10):
        """umount(8); True when it worked and zkfs ended by itself, with status 0."""
        done = subprocess.run(["timeout", str(timeout), "umount", self.path], stderr=subprocess.PIPE)
        if done.returncode != 0:
            return False
        try:
            return self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            return False

    def close(self):
        if self not in Mount.alive:
            return
        Mount.alive.remove(self)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.abort()
                self.process.kill()
                self.process.wait()
        if is_mounted(self.path):
            self.abort()
            subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        status = self.process.returncode
        log = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)
        t.check("ERROR: " not in log and "runtime error" not in log,
                "a sanitizer's report in the log of zkfs:\n" + log[-4000:])
        t.check(status in (0, -9), "zkfs ended with status %s:\n%s" % (status, log[-4000:]))

    def start(self, command, folder=None):
        """A shell in the mount, or elsewhere, in a process group of its own; what it prints can be read when it has
        ended."""
        return subprocess.Popen(["bash", "-c", command], cwd=folder or self.path, start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    def finish(self, process, timeout=30):
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.3)
            self.abort()
            process.communicate()
            raise t.Failed("a command hung for %d s" % timeout) from None
        return process.returncode, out, err

    def run(self, command, timeout=30):
        """(status, output, errors) of a shell command run in the mount."""
        return self.finish(self.start(command), timeout)

    def sh(self, command, want=None, timeout=30):
        """The output of a command that has to succeed, and to print `want` when that is given."""
        status, out, err = self.run(command, timeout)
        t.check(status == 0, "status %d of <%s>: %s" % (status, command, err))
        t.check(want is None or out == want, "<%s> printed %r, not %r" % (command, out, want))
        return out

    def fails(self, command, text, timeout=30):
        """A command that has to fail with this text in its errors."""
        status, out, err = self.run(command, timeout)
        t.check(status != 0, "<%s> succeeded and printed %r" % (command, out))
        t.check(text in err, "<%s> failed with <%s>, without <%s>" % (command, err, text))


def _close_all():
    for mount in list(Mount.alive):
        try:
            mount.close()
        except t.Failed as e:
            t.note(e)


atexit.register(_close_all)
