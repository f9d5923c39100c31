"""What is written into Apache's server, and how a whole tree is read from any."""
import base64
import contextlib
import hashlib
import itertools
import random
import threading

import wire
import zkfs_test as t

SUPER = "super:hunter"
SUPER_DIGEST = "super:" + base64.b64encode(hashlib.sha1(SUPER.encode()).digest()).decode()
WINDOW = 400
ACLS = [
    wire.WORLD,
    [(31, "digest", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=")],
    [(1, "world", "anyone"), (31, "ip", "127.0.0.1")],
    [(31, "digest", "alice:abc="), (3, "ip", "10.0.0.0/8"), (16, "world", "anyone")],
]
REFUSALS = (-101, -108, -110, -111)  # no such znode, below an ephemeral, there already, not empty


_ports = itertools.count(24000)  # below those that the kernel gives to connections


def new_ports(count=1):
    """The first of so many in a row, which nobody else has got."""
    return [next(_ports) for _ in range(count)][0]


class Pipe:
    """A session that sends many requests before it reads their answers."""

    def __init__(self, port, timeout_ms=30000):
        self.s = wire.Session(port, timeout_ms=timeout_ms)
        self.s.sock.settimeout(60)
        self.waiting = []
        self.call("auth", wire.auth("digest", SUPER), xid=-4)

    def call(self, op, record=b"", xid=None):
        self.flush()
        return self.s.call(op, record, xid=xid)

    def send(self, op, record, then=None):
        """`then(err, reader)` hears the answer."""
        self.s.request(op, record)
        self.waiting.append(then)
        if len(self.waiting) >= WINDOW:
            self.flush()

    def flush(self):
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            _, _, err, reader = self.s.reply()
            if then:
                then(err, reader)
            elif err:
                raise t.Failed("an operation of the load failed with %d" % err)

    def any(self, op, record):
        """An operation that may be refused: that is a transaction, too."""
        self.send(op, record, lambda err, reader: t.check(
            err == 0 or err in REFUSALS, "error %d" % err))

    def end(self):
        self.flush()
        self.s.end()


def container(path):
    return wire.create(path, b"c", flags=4)


def with_ttl(path, ttl):
    return wire.create(path, b"t", flags=5) + wire.i64(ttl)


class Load:
    """One writer below a folder of its own; what it does follows from its seed."""

    def __init__(self, port, name, seed, znodes, extended):
        self.port, self.root, self.rng, self.znodes = port, "/" + name, random.Random(seed), znodes
        self.extended = extended
        self.paths = []

    def data(self):
        kind = self.rng.random()
        if kind < 0.1:
            return None
        return b"" if kind < 0.2 else self.rng.randbytes(self.rng.randrange(200))

    def create(self, p):
        parent = self.rng.choice(self.paths[-50:] + self.paths[:3]) if self.paths else self.root
        path = "%s/n%d" % (parent if self.rng.random() < 0.3 else self.rng.choice(self.folders),
                           len(self.paths))
        op = self.rng.choice(["create", "create2"])
        p.any(op, wire.create(path, self.data(), self.rng.choice(ACLS)))
        self.paths.append(path)

    def recreate(self, p):
        """A znode that goes and comes again and again, now an ephemeral, now with children."""
        path = "%s/again%d" % (self.root, self.rng.randrange(8))
        choice = self.rng.randrange(6)
        if choice < 2:
            p.any("delete", wire.versioned(path + "/child"))
            p.any("delete", wire.versioned(path))
        elif choice < 4:
            p.any("create", wire.create(path, self.data(), self.rng.choice(ACLS)))
            p.any("create2", wire.create(path + "/child", self.data()))
        else:
            p.any("multi", wire.multi(("delete", wire.versioned(path)),
                                      ("create", wire.create(path, self.data(), self.rng.choice(ACLS)))))

    def change(self, p):
        path = self.rng.choice(self.paths)
        choice = self.rng.randrange(7)
        if choice < 3:
            p.any("setData", wire.set_data(path, self.data()))
        elif choice < 4:
            p.any("setACL", wire.set_acl(path, self.rng.choice(ACLS)))
        elif choice < 5:
            p.any("delete", wire.versioned(path))
        else:
            p.any("multi", wire.multi(("check", wire.versioned(path)),
                                      ("setData", wire.set_data(path, self.data())),
                                      ("create", wire.create("%s/m" % self.root, b"m", flags=2)),
                                      ("delete", wire.versioned(self.rng.choice(self.paths)))))

    def short_session(self):
        """One that ends with ephemerals of its own."""
        p = Pipe(self.port)
        for i in range(5):
            p.any("create", wire.create("%s/e/short" % self.root, b"%d" % i, flags=3))
        p.any("create", wire.create("%s/again%d" % (self.root, self.rng.randrange(8)), b"e", flags=1))
        p.end()

    def extend(self, p):
        """Containers and TTL znodes."""
        for i in range(4):
            p.send(19, container("%s/container%d" % (self.root, i)))
            p.send(21, with_ttl("%s/ttl%d" % (self.root, i), 100000000 + i))
        p.send("create", wire.create("%s/container1/below" % self.root))
        p.send("delete", wire.versioned("%s/ttl3" % self.root))

    def run(self):
        p = Pipe(self.port)
        self.folders = ["%s/f%d" % (self.root, i) for i in range(7)]
        for path in [self.root, self.root + "/e"] + self.folders:
            p.send("create", wire.create(path))
        if self.extended:
            self.extend(p)
        p.flush()
        while len(self.paths) < self.znodes:
            self.create(p)
            if self.rng.random() < 0.25:
                self.change(p)
            if self.rng.random() < 0.15:
                self.recreate(p)
            if self.rng.random() < 0.15:
                p.any("create", wire.create("%s/s-" % self.rng.choice(self.folders), b"", flags=2))
            if self.rng.random() < 0.002:
                self.short_session()
        p.end()


def in_parallel(port, names, znodes, seed, extended=True):
    """Several writers at once; the first failure is everybody's."""
    failed = []

    def work(load):
        try:
            load.run()
        except Exception as e:  # the suite's thread says it
            failed.append(e)
    threads = [threading.Thread(target=work, args=(Load(port, n, seed + i, znodes, extended),))
               for i, n in enumerate(names)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if failed:
        raise failed[0]


class KeepAlive:
    """Sessions that nobody uses, and that do not expire until the `with` ends."""

    def __init__(self, pipes):
        self.pipes, self.over = pipes, threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.over.wait(0.5):
            for p in self.pipes:
                p.call("ping", xid=-2)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Awake:
    """Somebody asks Apache's server all the time while the `with` lasts: that of an ensemble misses at times that it
    has something to do (its CommitProcessor waits, and so do all others) until the next request comes, whosever it is."""

    def __init__(self, port):
        self.port, self.session, self.over = port, None, threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.over.wait(0.3):
            try:
                if self.session is None:
                    self.session = wire.Session(self.port, timeout_ms=30000, timeout=2)
                self.session.call("ping", xid=-2)
            except (OSError, wire.Closed):
                self.session = None  # the next one's request wakes the server

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        with contextlib.suppress(OSError):
            if self.session is not None:
                self.session.end()


def read_tree(port):
    """{path: (Stat, data, ACL)} of everything, the root and the system's znodes too."""
    p = Pipe(port)
    tree, level = {}, ["/"]
    while level:
        following = []
        for path in level:
            def children(err, r, path=path):
                t.equal(err, 0, path)
                names = r.strings()
                following.extend(path.rstrip("/") + "/" + n for n in names)

            def data(err, r, path=path):
                t.equal(err, 0, path)
                value = r.blob()
                tree[path] = [r.stat(), value, None]

            def acl(err, r, path=path):
                t.equal(err, 0, path)
                tree[path][2] = r.acls()
            p.send("getChildren", wire.watched(path), children)
            p.send("getData", wire.watched(path), data)
            p.send("getACL", wire.blob(path), acl)
        p.flush()
        level = following
    p.end()
    return tree
