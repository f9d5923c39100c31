"""Apache's data directory, moved to zkreplica: see load.py for what is in it. Everything that clients can see of
every znode is read from Apache's server and from ours, and must be the same."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, os.path.join(HERE, "..", "compat"))
import zkfs_test as t  # noqa: E402
import ensemble  # noqa: E402
import load  # noqa: E402
import wire  # noqa: E402
from server import word  # noqa: E402

WRITERS, ZNODES = 4, 2600
TICK_MS = 200
LIVE_TIMEOUT_MS = 4000
FOLDER = tempfile.mkdtemp(prefix="import-")


class Apache:
    """Apache's server of one, as an ensemble (so that it counts epochs) or alone."""
    running = []

    def __init__(self, name, alone):
        self.folder = os.path.join(FOLDER, name)
        self.data, self.log = os.path.join(self.folder, "data"), os.path.join(self.folder, "datalog")
        for folder in (self.data, self.log):
            os.makedirs(folder)
        self.port = load.new_ports()
        self.process = None
        lines = ["tickTime=%d" % TICK_MS, "initLimit=20", "syncLimit=20", "dataDir=" + self.data,
                 "dataLogDir=" + self.log, "clientPort=%d" % self.port, "clientPortAddress=127.0.0.1",
                 "maxClientCnxns=0", "maxSessionTimeout=60000", "admin.enableServer=false",
                 "4lw.commands.whitelist=*"]
        if not alone:
            lines += ["standaloneEnabled=false",
                      "server.1=127.0.0.1:%d:%d" % (load.new_ports(), load.new_ports())]
            with open(os.path.join(self.data, "myid"), "w") as f:
                f.write("1\n")
        self.config = os.path.join(self.folder, "zoo.cfg")
        with open(self.config, "w") as f:
            f.write("\n".join(lines) + "\n")

    def start(self, *properties):
        keys = ("extendedTypesEnabled=true", "snapCount=1500", "preAllocSize=512", "forceSync=no",
                "DigestAuthenticationProvider.superDigest=" + load.SUPER_DIGEST) + properties
        command = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        command += ["-Dzookeeper." + k for k in keys]
        command += ["-cp", "/etc/zookeeper/conf:/usr/share/java/*",
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config]
        with open(os.path.join(self.folder, "out"), "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            cwd=self.folder, preexec_fn=t._die_with_parent)
        Apache.running.append(self)

    def wait(self):
        def serving():
            t.check(self.process.poll() is None, "Apache's server ended")
            try:
                return "Mode:" in word(self.port, "srvr")
            except OSError:
                return False
        t.wait_for(serving, 60, "Apache's server serving", step=0.05)

    def end(self, kill):
        if self.process is None:
            return
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(30)
        self.process = None
        Apache.running.remove(self)

    def copy(self, name):
        """The directories of snapshots and of the log, as they are."""
        to = os.path.join(FOLDER, name)
        shutil.copytree(self.data, os.path.join(to, "data"))
        shutil.copytree(self.log, os.path.join(to, "datalog"))
        return to


def zkreplica(*words, status=0):
    """Runs it; (standard output, standard error)."""
    p = subprocess.run([os.path.join(t.BUILD, "replica", "zkreplica"), *words], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=60)
    t.equal(p.returncode, status, "status of %s\n%s%s" % (" ".join(words), p.stdout[-2000:], p.stderr[-2000:]))
    return p.stdout, p.stderr


def values(text):
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def target(name):
    """A replica that has no data yet and does not run."""
    folder = os.path.join(FOLDER, name)
    os.makedirs(folder)
    return t.Replica(load.new_ports(), directory=folder, start=False, config={
        "tickTime": TICK_MS, "DigestAuthenticationProvider.superDigest": load.SUPER_DIGEST})


def do_import(source, name):
    """(replica, what the import said)."""
    r = target(name)
    out, err = zkreplica("--import", os.path.join(source, "data"), "--log-dir",
                         os.path.join(source, "datalog"), r.config_path)
    for line in err.splitlines():
        t.note(line)
    return r, values(out)


def served(r):
    r.start()
    t.wait_for(lambda: "Mode:" in r.word("srvr"), 20, "the replica serving")
    tree = load.read_tree(r.port)
    t.equal(r.stop(), 0, "the replica's end")
    return tree


def differences(want, got):
    lines = ["%s is missing" % p for p in sorted(want.keys() - got.keys())]
    lines += ["%s is too much" % p for p in sorted(got.keys() - want.keys())]
    for path in sorted(want.keys() & got.keys()):
        for a, b in zip(want[path], got[path]):
            if a != b:
                lines.append("%s: %r instead of %r" % (path, b, a))
    return lines


def check_same(want, got):
    """But for the configuration's znode, that is not taken over."""
    want, got = dict(want), dict(got)
    for tree in (want, got):
        tree.pop("/zookeeper/config", None)
    lines = differences(want, got)
    for line in lines[:10]:
        t.note(line)
    t.check(not lines, "%d differences" % len(lines))


def without_ephemerals(tree, zxid):
    """What has to become of it when its sessions end at that zxid."""
    tree = {p: [dict(v[0]), v[1], v[2]] for p, v in tree.items()}
    for path in [p for p, v in tree.items() if v[0]["ephemeralOwner"] != 0]:
        stat = tree[path.rsplit("/", 1)[0] or "/"][0]
        stat["numChildren"] -= 1
        stat["cversion"] += 1
        stat["pzxid"] = zxid
        del tree[path]
    return tree


def last_zxid(port):
    return int(re.search(r"Zxid: (0x[0-9a-f]+)", word(port, "srvr"))[1], 16)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 0x40]))


def files(source, part, prefix):
    folder = os.path.join(source, part, "version-2")
    names = [n for n in os.listdir(folder) if n.startswith(prefix + ".")]
    return [os.path.join(folder, n) for n in sorted(names, key=lambda n: int(n.split(".")[1], 16))]


def is_fuzzy(path):
    """Whether writes went on while it was made: behind the seal stands the zxid at which that ended."""
    with open(path, "rb") as f:
        f.seek(-33, os.SEEK_END)
        return struct.unpack(">q", f.read(8))[0] > int(path.rsplit(".", 1)[1], 16)


class State:
    """What one test leaves to the next."""


@t.test("Apache's server is written to and killed while sessions have ephemerals")
def _():
    State.apache = a = Apache("apache", alone=False)
    a.start()
    a.wait()
    with load.Awake(a.port):
        load.in_parallel(a.port, ["w%d" % i for i in range(WRITERS)], ZNODES, seed=7)
    live = [load.Pipe(a.port, LIVE_TIMEOUT_MS) for _ in range(3)]
    for i, p in enumerate(live):
        for path in ("/w0/live%d" % i, "/w1/f1/live%d" % i, "/w%d/e/live" % i, "/live%d" % i):
            p.send("create", wire.create(path, b"e", flags=1))
        p.flush()
    with load.KeepAlive(live):
        State.before = load.read_tree(a.port)
        State.zxid = last_zxid(a.port)
    a.end(kill=True)
    State.killed = a.copy("killed")
    snapshots = files(State.killed, "data", "snapshot")
    fuzzy = sum(map(is_fuzzy, snapshots))
    t.note("%d znodes, zxid 0x%x, %d snapshots (%d of them fuzzy), %d logs" % (
        len(State.before), State.zxid, len(snapshots), fuzzy, len(files(State.killed, "datalog", "log"))))
    t.check(len(snapshots) >= 5 and fuzzy > 0 and len(State.before) >= 10000, "too little")


@t.test("what the killed server left is imported: every Stat, ACL and value is the same, and the ephemerals are gone")
def _():
    r, said = do_import(State.killed, "ours-killed")
    State.said = said
    t.equal(int(said["zxid"], 16), State.zxid)
    t.equal(said["digest"], "equal")
    t.equal(said["ephemerals_removed"], "12")
    # The three, and the one that read, whose end may have come too late to be written down.
    t.check(said["sessions_ended"] in ("3", "4"), said)
    t.equal((said["containers"], said["ttls"]), (str(4 * WRITERS), str(3 * WRITERS)))
    State.ours = os.path.join(FOLDER, "ours-killed-fresh")
    shutil.copytree(r.log_dir, State.ours)
    State.snapshot, = [os.path.join(State.ours, n) for n in os.listdir(State.ours) if n.startswith("snapshot")]
    lines = zkreplica("--dump", State.ours)[0].splitlines()
    t.equal((sum(x.endswith(" owner=0x8000000000000000 container") for x in lines),
             sum(bool(re.search(r" owner=0xff0000\w+ ttl_ms=10000000\d$", x)) for x in lines)), (4 * WRITERS, 3 * WRITERS))
    State.expected = without_ephemerals(State.before, State.zxid)
    State.tree = served(r)
    check_same(State.expected, State.tree)


@t.test("Apache's own server, started again, makes the same of it when its sessions have expired")
def _():
    a = State.apache
    a.start("snapshot.compression.method=gz")
    a.wait()
    t.wait_for(lambda: "ephemerals count: 0" in word(a.port, "srvr") or
               re.search(r"zk_ephemerals_count\t0", word(a.port, "mntr")), 30, "the sessions' end", step=0.1)
    with load.Awake(a.port):
        tree = load.read_tree(a.port)
    mine = {p: [dict(v[0]), v[1], v[2]] for p, v in State.tree.items()}
    parents = {p.rsplit("/", 1)[0] or "/" for p, v in State.before.items() if v[0]["ephemeralOwner"]}
    for path in parents:
        # Apache gave each end of a session a zxid of its own.
        t.check(tree[path][0]["pzxid"] > State.zxid, path)
        mine[path][0]["pzxid"] = tree[path][0]["pzxid"]
    check_same(tree, mine)


@t.test("it is written to again, in its second epoch and with packed snapshots, stopped and imported")
def _():
    a = State.apache
    with load.Awake(a.port):
        load.in_parallel(a.port, ["again%d" % i for i in range(2)], 800, seed=99)
        tree = load.read_tree(a.port)
    zxid = last_zxid(a.port)
    a.end(kill=False)
    stopped = a.copy("stopped")
    t.check(any(f.endswith(".gz") for f in files(stopped, "data", "snapshot")), "no packed snapshot")
    t.equal(zxid >> 32, 2, "the epoch")
    r, said = do_import(stopped, "ours-stopped")
    t.equal((int(said["zxid"], 16), said["digest"]), (zxid, "equal"))
    t.check(said["snapshot"].endswith(".gz"), said["snapshot"])
    check_same(tree, served(r))


def same_as_before(name, spoil, note):
    """A spoiled copy gives the same tree."""
    source = os.path.join(FOLDER, name)
    shutil.copytree(State.killed, source)
    spoil(source)
    r = target("ours-" + name)
    out, err = zkreplica("--import", os.path.join(source, "data"), "--log-dir",
                         os.path.join(source, "datalog"), r.config_path)
    t.check(note in err, err)
    t.equal(values(out)["zxid"], State.said["zxid"])
    t.equal(values(out)["digest"], "equal")
    t.equal(zkreplica("--dump", r.log_dir)[0].replace(r.log_dir, ""),
            zkreplica("--dump", State.ours)[0].replace(State.ours, ""))
    shutil.rmtree(source)


@t.test("with the newest snapshot broken an older one and a longer log give the same")
def _():
    same_as_before("broken", lambda d: flip(files(d, "data", "snapshot")[-1], 5000), "/snapshot.")


@t.test("without any snapshot the log from the beginning gives the same")
def _():
    def spoil(d):
        for f in files(d, "data", "snapshot"):
            os.unlink(f)
    same_as_before("bare", spoil, "")


@t.test("a write that never ended, at the log's end, is left out")
def _():
    def spoil(d):
        f = files(d, "datalog", "log")[-1]
        with open(f, "r+b") as log:
            content = log.read().rstrip(b"\0")
            log.seek(len(content))
            log.write(b"\0\0\0\0\x12\x34\x56\x78\0\0\0\x40torn")
    same_as_before("torn", spoil, "a write that never ended is left out")


def refused(name, spoil, text):
    source = os.path.join(FOLDER, name)
    shutil.copytree(State.killed, source)
    spoil(source)
    r = target("ours-" + name)
    _, err = zkreplica("--import", os.path.join(source, "data"), "--log-dir",
                       os.path.join(source, "datalog"), r.config_path, status=2)
    t.check(text in err, err)
    t.check(not os.path.exists(r.log_dir), "something was written")
    shutil.rmtree(source)


@t.test("a log with a part missing is refused")
def _():
    def spoil(d):
        os.unlink(files(d, "datalog", "log")[3])
        for f in files(d, "data", "snapshot")[3:]:
            os.unlink(f)
    refused("gap", spoil, "a part of the log is missing")


@t.test("a log that is broken in its middle is refused")
def _():
    def spoil(d):
        flip(files(d, "datalog", "log")[4], 3000)
        for f in files(d, "data", "snapshot")[3:]:
            os.unlink(f)
    refused("middle", spoil, "there are whole ones behind it")


@t.test("a directory that is not empty is refused and left as it is")
def _():
    r = target("full")
    os.makedirs(r.log_dir)
    with open(os.path.join(r.log_dir, "something"), "w") as f:
        f.write("of mine")
    _, err = zkreplica("--import", State.killed + "/data", r.config_path, status=2)
    t.check("is not empty" in err, err)
    t.equal(os.listdir(r.log_dir), ["something"])


@t.test("a replica that finds Apache's data names the command")
def _():
    r = target("beside")
    shutil.copytree(State.killed + "/data/version-2", r.data_dir + "/version-2")
    _, err = zkreplica(r.config_path, status=2)
    t.check("--import" in err, err)


@t.test("a server that stood alone, in epoch 0, becomes an ensemble of three with the same tree")
def _():
    a = Apache("alone", alone=True)
    a.start()
    a.wait()
    load.in_parallel(a.port, ["x"], 100, seed=5)
    tree, zxid = load.read_tree(a.port), last_zxid(a.port)
    a.end(kill=False)
    t.equal(zxid >> 32, 0, "the epoch")
    port = load.new_ports(9)  # a client's, a peer's and an election's for each
    e = ensemble.Ensemble(3, port=port, config={
        "DigestAuthenticationProvider.superDigest": load.SUPER_DIGEST}, folder=os.path.join(FOLDER, "three"))
    for m in e.members:
        zkreplica("--import", a.data, "--log-dir", a.log, m.config_path)
    e.start()
    for m in e.members:
        check_same(tree, load.read_tree(m.port))
    t.equal(e.stop(), [0, 0, 0])
    e.close()


@t.test("a snapshot file becomes a new ensemble with the same tree")
def _():
    r = target("restored")
    out, _ = zkreplica("--restore", State.snapshot, r.config_path)
    t.equal(values(out)["zxid"], State.said["zxid"])
    t.equal(zkreplica("--dump", r.log_dir)[0].replace(r.log_dir, ""),
            zkreplica("--dump", State.ours)[0].replace(State.ours, ""))
    check_same(State.expected, served(r))


@t.test("a snapshot file that is broken anywhere is not restored")
def _():
    path = os.path.join(FOLDER, os.path.basename(State.snapshot))
    for at in (5, 60, 100, 4000, os.path.getsize(State.snapshot) - 3):
        shutil.copy(State.snapshot, path)
        flip(path, at)
        r = target("broken-%d" % at)
        zkreplica("--restore", path, r.config_path, status=2)
        t.check(not os.path.exists(r.log_dir), "something was written")


@t.test("a checkpoint that was made under writes becomes a new ensemble, with the tree of its zxid")
def _():
    r = target("checkpoints")
    with open(r.config_path, "a") as f:
        f.write("snapCount=400\nautopurge.snapRetainCount=100\n")
    r.start()
    load.in_parallel(r.port, ["a", "b", "c"], 500, seed=11, extended=False)
    r.word("snap")
    tree, zxid = load.read_tree(r.port), last_zxid(r.port)
    r.stop()
    out = zkreplica("--check", r.log_dir)[0]
    snapshots = [os.path.join(r.log_dir, n) for n in sorted(os.listdir(r.log_dir)) if n.startswith("snapshot.")]
    t.equal(int(values(out)["snapshots"]), len(snapshots))
    inner = sum(x.startswith("0x") for f in snapshots for x in zkreplica("--dump", f)[0].splitlines())
    t.note("%d checkpoints with %d records" % (len(snapshots), inner))
    t.check(len(snapshots) >= 3, "too few checkpoints")
    for path in snapshots:
        one = target("from-" + os.path.basename(path))
        said = values(zkreplica("--restore", path, one.config_path)[0])
        t.equal(int(said["zxid"], 16), int(path.rsplit(".", 1)[1], 16))
        t.equal(zkreplica("--check", one.log_dir)[0].splitlines()[-1], "whole")
    # Of the last one, that was asked for, the tree is known; the sessions that read came behind it.
    t.check(int(said["zxid"], 16) <= zxid, said)
    check_same(tree, served(one))


def a_log():
    """A replica's directory with several segments, and its checks by name."""
    if not hasattr(State, "log"):
        r = target("plain")
        with open(r.config_path, "a") as f:
            f.write("preAllocSize=64\n")
        r.start()
        load.in_parallel(r.port, ["x"], 700, seed=3, extended=False)
        State.log_zxid = last_zxid(r.port)
        r.stop()
        State.log = r.log_dir
    return State.log


def segments(folder):
    return [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.startswith("log.")]


def spoiled(name, spoil):
    folder = os.path.join(FOLDER, name)
    shutil.copytree(a_log(), folder)
    spoil(folder)
    return folder


@t.test("a whole log is said to be whole, with what it holds")
def _():
    out, _ = zkreplica("--check", a_log())
    said = values(out)
    t.equal(out.splitlines()[-1], "whole")
    t.equal(int(said["last_zxid"], 16), State.log_zxid)
    t.equal(int(said["segments"]), len(segments(State.log)))
    t.check(len(segments(State.log)) >= 3, "one segment only")
    lines = [x for x in zkreplica("--dump", State.log)[0].splitlines() if x.startswith("0x")]
    t.equal(len(lines), int(said["records"]))
    t.equal(int(lines[-1].split()[0], 16), State.log_zxid)
    some = zkreplica("--dump", State.log, "--from", lines[-10].split()[0])[0]
    t.equal([x for x in some.splitlines() if x.startswith("0x")], lines[-10:])


@t.test("a frame that is broken in the middle is a hole; the dump goes on behind it")
def _():
    folder = spoiled("hole", lambda d: flip(segments(d)[1], 2000))
    out, _ = zkreplica("--check", folder, status=2)
    t.check(re.search(r"damage %s offset \d+ bytes \d+: hole: " % os.path.basename(segments(folder)[1]), out), out)
    t.equal(out.splitlines()[-1], "damaged")
    broken = zkreplica("--dump", folder, status=2)[0]
    t.check("DAMAGED" in broken, "no damage shown")
    whole = zkreplica("--dump", a_log())[0]
    missing = set(whole.replace(a_log(), "").splitlines()) - set(broken.replace(folder, "").splitlines())
    t.check(1 <= len([x for x in missing if x.startswith("0x")]) <= 2, missing)


@t.test("a segment that is missing, and one with a broken head, are damage")
def _():
    out = zkreplica("--check", spoiled("missing", lambda d: os.unlink(segments(d)[1])), status=2)[0]
    t.check("a segment before this one is missing" in out, out)
    folder = spoiled("head", lambda d: flip(segments(d)[1], 20))
    out = zkreplica("--check", folder, status=2)[0]
    t.check("offset 0: the segment's head" in out, out)
    t.equal(int(values(out)["last_zxid"], 16), State.log_zxid)


@t.test("an unfinished write at the end is no damage, a broken end that was acknowledged is")
def _():
    def tear(d):
        with open(segments(d)[-1], "r+b") as f:
            content = f.read().rstrip(b"\0")
            f.truncate(len(content) - 70)
    out = zkreplica("--check", spoiled("tear", tear))[0]
    t.check("torn " in out and out.splitlines()[-1] == "whole", out)

    def lose(d):
        with open(segments(d)[-1], "rb") as f:
            content = f.read().rstrip(b"\0")
        flip(segments(d)[-1], len(content) // 8 * 8 - 80)
    out = zkreplica("--check", spoiled("lose", lose), status=2)[0]
    t.check("lost end" in out, out)


@t.test("a promise that is broken in one copy is said")
def _():
    out = zkreplica("--check", spoiled("promise", lambda d: flip(os.path.join(d, "epoch.1"), 20)), status=2)[0]
    t.check("damage epoch.1" in out, out)


def end():
    for a in list(Apache.running):
        a.end(kill=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    try:
        t.main()
    finally:
        end()
