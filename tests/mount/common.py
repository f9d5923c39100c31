"""What the mount's tests share: one server and one mount of it, and a session of another client."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["ZKFS_SRC"], "tests", "lib"))
import mount  # noqa: E402
import zkfs_test as t  # noqa: E402

APACHE = os.environ.get("ZKFS_SERVER") == "apache"
# For runs side by side.
PORT = (23650 if APACHE else 23610) + int(os.environ.get("ZKFS_PORT_SHIFT", "0"))
FAULT_PORT = PORT + 1

_shared = {}


def server():
    if "server" not in _shared:
        _shared["server"] = mount.new_server(PORT)
    return _shared["server"]


def shared():
    """The mount for tests that leave it as they found it; made anew when a test has broken it."""
    m = _shared.get("mount")
    if m is None or m.process.poll() is not None or not mount.is_mounted(m.path):
        server()
        m = _shared["mount"] = mount.Mount("127.0.0.1:%d" % PORT, "timeo=10")
    return m


def close():
    if "mount" in _shared:
        _shared["mount"].close()
    if "server" in _shared:
        _shared["server"].close()


class Dir:
    """A folder of the shared mount for one test: `with Dir() as d`. Commands run in it; `d.zk` is another
    client's session, `d.znode` the folder's path in the tree."""
    count = 0

    def __enter__(self):
        Dir.count += 1
        self.m = shared()
        self.name = "t%d" % Dir.count
        self.znode = "/" + self.name
        self.path = os.path.join(self.m.path, self.name)
        self.zk = t.Session(PORT)
        os.mkdir(self.path)
        return self

    def __exit__(self, kind, *_):
        self.end_session()
        if kind is None:
            self.m.sh("rm -rf %s" % self.name)

    def end_session(self):
        try:
            self.zk.close_session()
        except t.Lost:
            pass  # nothing was sent for longer than its timeout

    def renew(self):
        """A new session, behind what may have taken longer than an idle one lives."""
        self.end_session()
        self.zk = t.Session(PORT)

    def z(self, name):
        return self.znode + "/" + name

    def p(self, name):
        return os.path.join(self.path, name)

    def sh(self, command, want=None, timeout=30):
        return self.m.sh("cd %s && { %s\n}" % (self.name, command), want, timeout)

    def fails(self, command, text, timeout=30):
        self.m.fails("cd %s && { %s\n}" % (self.name, command), text, timeout)

    def start(self, command):
        return self.m.start("cd %s && { %s\n}" % (self.name, command))

    def get(self, name):
        return self.zk.get(self.z(name))[0]

    def version(self, name):
        return self.zk.get(self.z(name))[1]


def fails_with(errno, fn, *args):
    """fn(*args) has to raise OSError with this errno."""
    try:
        value = fn(*args)
    except OSError as e:
        t.equal(os.strerror(e.errno), os.strerror(errno), "errno")
        return
    raise t.Failed("no error, but %r, where errno %d was due" % (value, errno))
