"""Create flags: user.zk.create, and what open, mkdir and mknod make of it."""
import errno
import os
import stat

import common
from common import Dir, fails_with, mount, t
from gate import Gate, Gated

FLAGS = "user.zk.create"
KEPT = "/zookeeper/zkfs/create"
PERSISTENT = 0


def set_flags(path, words, how=0):
    os.setxattr(path, FLAGS, words.encode(), how)


def flags_of(path):
    return os.getxattr(path, FLAGS).decode()


def owner_of(path):
    """What Stat calls ephemeralOwner."""
    return int(os.getxattr(path, "user.zk.ephemeralOwner"), 16)


def is_ephemeral(path):
    return owner_of(path) != PERSISTENT


def kept(zk, znode):
    """The names under which flags of this directory are kept, for whichever czxid."""
    start = znode.replace("%", "%25").replace("/", "%2F") + "@"
    try:
        return [name for name in zk.children(KEPT) if name.startswith(start)]
    except t.ZkError as e:
        t.equal(e.code, t.NONODE)
        return []


def make(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def second_mount(root=""):
    return mount.Mount("127.0.0.1:%d%s" % (common.PORT, root))


@t.test("user.zk.create is kept, read back in one form, not listed, and removed; ENODATA when there is none")
def _():
    with Dir() as d:
        fails_with(errno.ENODATA, os.getxattr, d.path, FLAGS)
        fails_with(errno.ENODATA, os.removexattr, d.path, FLAGS)
        d.sh("setfattr -n user.zk.create -v owner=open,ephemeral . && "
             "getfattr --only-values -n user.zk.create .", "ephemeral owner=open")
        t.equal(os.listxattr(d.path), [])
        set_flags(d.path, "sequential")
        t.equal(flags_of(d.path), "persistent sequential")
        name, = kept(d.zk, d.znode)
        t.equal(d.zk.get(KEPT + "/" + name)[0], b"persistent sequential\n")
        os.removexattr(d.path, FLAGS)
        fails_with(errno.ENODATA, os.getxattr, d.path, FLAGS)
        t.equal(kept(d.zk, d.znode), [])
        set_flags(d.path, "ephemeral")
        set_flags(d.path, "")
        fails_with(errno.ENODATA, os.getxattr, d.path, FLAGS)
        set_flags(d.path, "")


@t.test("XATTR_CREATE and XATTR_REPLACE of user.zk.create are obeyed; files have none")
def _():
    with Dir() as d:
        fails_with(errno.ENODATA, set_flags, d.path, "ephemeral", os.XATTR_REPLACE)
        set_flags(d.path, "ephemeral", os.XATTR_CREATE)
        fails_with(errno.EEXIST, set_flags, d.path, "sequential", os.XATTR_CREATE)
        set_flags(d.path, "sequential", os.XATTR_REPLACE)
        t.equal(flags_of(d.path), "persistent sequential")
        set_flags(d.path, "")
        make(d.p("f"))
        fails_with(errno.ENOTDIR, set_flags, d.p("f"), "ephemeral")
        fails_with(errno.ENODATA, os.getxattr, d.p("f"), FLAGS)
        fails_with(errno.ENODATA, os.removexattr, d.p("f"), FLAGS)
        fails_with(errno.ENOTDIR, set_flags, d.p(".data"), "ephemeral")


@t.test("a wrong word is EINVAL, changes nothing, and one log line names it")
def _():
    with Dir() as d:
        set_flags(d.path, "sequential")
        for words, bad in (("ephemeral sequentail", "sequentail"), ("owner=me", "owner=me"),
                           ("ttl=0", "ttl=0"), ("ephemeral ttl=5", "ttl=5"), ("owner=open", "owner=open"),
                           ("container sequential", "sequential"), ("bad\x01\nword", "bad?")):
            before = len(d.m.log().splitlines())
            fails_with(errno.EINVAL, set_flags, d.path, words)
            lines = d.m.log().splitlines()[before:]
            t.check(len(lines) == 1 and '"%s"' % bad in lines[0] and d.znode in lines[0], lines)
        t.equal(flags_of(d.path), "persistent sequential")
        set_flags(d.path, "")


@t.test("ephemeral: open, mkdir and mknod in the directory make ephemerals; elsewhere persistent znodes")
def _():
    with Dir() as d:
        d.sh("mkdir on off && setfattr -n user.zk.create -v ephemeral on")
        d.sh("echo v > on/f && mkdir on/d && cat on/f && stat -c '%n %A' on/*",
             "v\non/d drwxr-xr-t\non/f -rw-r--r-T\n")
        os.mknod(d.p("on/n"), stat.S_IFREG | 0o600)
        for name in "fdn":
            t.check(is_ephemeral(d.p("on/" + name)), name)
        d.sh("touch off/f && mkdir off/d && touch outside")
        for path in ("off/f", "off/d", "outside", "on"):
            t.check(not is_ephemeral(d.p(path)), path)
        fails_with(errno.EPERM, os.mkdir, d.p("on/d/child"))
        fails_with(errno.EPERM, make, d.p("on/d/child"))
        set_flags(d.p("on"), "persistent")
        d.sh("touch on/g && mkdir on/sub && touch on/sub/h")
        for path in ("on/g", "on/sub", "on/sub/h"):
            t.check(not is_ephemeral(d.p(path)), path)


@t.test("flags are of one directory, not of those in it, and open of what is there makes nothing")
def _():
    with Dir() as d:
        d.sh("mkdir a a/b && touch a/f && setfattr -n user.zk.create -v ephemeral a && touch a/b/f && echo v > a/f")
        t.check(not is_ephemeral(d.p("a/b/f")), "a grandchild")
        t.check(not is_ephemeral(d.p("a/f")), "one that was there")


@t.test("flags end with their directory: rmdir removes them, and one made again has none")
def _():
    with Dir() as d:
        d.sh("mkdir a && setfattr -n user.zk.create -v ephemeral a && rmdir a")
        t.wait_for(lambda: kept(d.zk, d.z("a")) == [], 15, "the flags being removed")
        d.sh("mkdir a && touch a/f")
        t.check(not is_ephemeral(d.p("a/f")))
        fails_with(errno.ENODATA, os.getxattr, d.p("a"), FLAGS)


@t.test("flags left over of a directory that others deleted do not apply, and are removed when seen")
def _():
    with Dir() as d:
        d.sh("mkdir a && setfattr -n user.zk.create -v ephemeral a")
        d.zk.delete(d.z("a"))
        d.zk.create(d.z("a"), None)
        t.equal(len(kept(d.zk, d.z("a"))), 1)
        fails_with(errno.ENODATA, os.getxattr, d.p("a"), FLAGS)
        d.sh("touch a/f")
        t.check(not is_ephemeral(d.p("a/f")))
        t.wait_for(lambda: kept(d.zk, d.z("a")) == [], 15, "the flags being removed")
        set_flags(d.p("a"), "ephemeral")
        d.sh("touch a/g")
        t.check(is_ephemeral(d.p("a/g")), "flags of the new directory apply")


@t.test("a working directory whose znode was made again obeys the flags of the new one")
def _():
    with Dir() as d:
        d.sh("mkdir a")
        old = os.open(d.p("a"), os.O_RDONLY | os.O_DIRECTORY)
        d.zk.delete(d.z("a"))
        d.zk.create(d.z("a"), None)
        set_flags(d.p("a"), "ephemeral")
        try:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=old))
            t.check(is_ephemeral(d.p("a/f")))
        except OSError as e:
            t.check(e.errno in (errno.ENOENT, errno.ESTALE), e)
        finally:
            os.close(old)


@t.test("another mount obeys as soon as setfattr has returned, one of a subtree too")
def _():
    with Dir() as d:
        os.mkdir(d.p("sub"))
        with second_mount() as other, second_mount(d.znode + "/sub") as deep:
            for i in range(20):
                set_flags(d.path, "ephemeral")
                make(os.path.join(other.path, d.name, "e%d" % i))
                t.check(is_ephemeral(d.p("e%d" % i)), "round %d" % i)
                os.removexattr(os.path.join(other.path, d.name), FLAGS)
                make(d.p("p%d" % i))
                t.check(not is_ephemeral(d.p("p%d" % i)), "round %d" % i)
            set_flags(d.p("sub"), "ephemeral")
            t.equal(flags_of(deep.path), "ephemeral owner=mount")
            make(deep.path + "/f")
            t.check(is_ephemeral(d.p("sub/f")))
            os.removexattr(deep.path, FLAGS)
            make(d.p("sub/g"))
            t.check(not is_ephemeral(d.p("sub/g")))


@t.test("a mount that comes later obeys flags that are there, in the first creation, of 300 directories")
def _():
    with Dir() as d:
        d.sh("mkdir d{1..300} && setfattr -n user.zk.create -v ephemeral d{1..300}", timeout=60)
        with second_mount(d.znode) as later:
            later.sh("for i in {300..1}; do mkdir d$i/e || exit 1; done", timeout=60)
            for i in range(1, 301):
                t.check(is_ephemeral(d.p("d%d/e" % i)), "d%d" % i)


@t.test("with 5,000 flagged directories: flags just set, and those of a mount's first creation, are obeyed too")
def _():
    with Dir() as d:
        fakes = ["%s/%%2Ffake%%2F%05d@1" % (KEPT, i) for i in range(5000)]
        set_flags(d.path, "persistent")
        for path in fakes:
            d.zk.send_request(t.CREATE, t.create_body(path, b"ephemeral"))
        for _ in fakes:
            t.equal(d.zk.recv_reply()[2], 0)
        d.sh("mkdir d{1..40} late{1..40} && setfattr -n user.zk.create -v ephemeral d{1..40}", timeout=60)
        with second_mount(d.znode) as later:
            for i in range(1, 41):
                os.mkdir(later.path + "/d%d/e" % i)
            for i in range(1, 41):
                t.check(is_ephemeral(d.p("d%d/e" % i)), "d%d" % i)
            for i in range(1, 41):
                set_flags(d.p("late%d" % i), "ephemeral")
                os.mkdir(later.path + "/late%d/e" % i)
                t.check(is_ephemeral(d.p("late%d/e" % i)), "late%d" % i)
        for path in fakes:
            d.zk.send_request(t.DELETE, t.text(path) + b"\xff\xff\xff\xff")
        for _ in fakes:
            d.zk.recv_reply()


@t.test("the folders of the flags are made by the first who needs them, by several at a time too")
def _():
    with Dir() as d, second_mount() as other:
        for i in range(5):
            for name in d.zk.children(KEPT):
                d.zk.delete(KEPT + "/" + name)
            d.zk.delete(KEPT)
            if d.zk.children(os.path.dirname(KEPT)) == []:
                d.zk.delete(os.path.dirname(KEPT))
            d.sh("mkdir a%d b%d" % (i, i))
            a = d.start("setfattr -n user.zk.create -v ephemeral a%d && touch b%d/x a%d/x" % (i, i, i))
            b = other.start("cd %s && setfattr -n user.zk.create -v ephemeral b%d && touch b%d/y" % (d.name, i, i))
            for m, shell in ((d.m, a), (other, b)):
                status, _, err = m.finish(shell)
                t.equal(status, 0, err)
            t.check(is_ephemeral(d.p("a%d/x" % i)) and is_ephemeral(d.p("b%d/y" % i)))


@t.test("names with / and % and @ in the path of a directory are told apart")
def _():
    with Dir() as d:
        names = ["a", "a%2Fb", "a@1", "%", "ä ö", "a%252Fb"]
        for name in names:
            os.makedirs(d.p(name + "/b"))
        os.mkdir(d.p("a%2Fb/b/c"))
        for name in names:
            set_flags(d.p(name + "/b"), "ephemeral")
            make(d.p(name + "/b/x"))
            t.check(is_ephemeral(d.p(name + "/b/x")), name)
            for other in names:
                t.equal(bool(kept(d.zk, d.z(other + "/b"))), other == name, other)
            set_flags(d.p(name + "/b"), "")


@t.test("what is no word, written by another client, is obeyed by failing: EINVAL and a log line")
def _():
    with Dir() as d:
        set_flags(d.path, "ephemeral")
        name, = kept(d.zk, d.znode)
        d.zk.set(KEPT + "/" + name, b"from the future")
        d.sh("sync .")
        fails_with(errno.EINVAL, make, d.p("f"))
        t.check("are not understood" in d.m.log() and "%2F" + d.name in d.m.log())
        set_flags(d.path, "persistent")
        make(d.p("f"))
        # What is none of ours does no harm.
        for other in ("nonsense", "@1", "%2Fx@", "%2Fx@12345678901234567", "%2Fx@xyz"):
            d.zk.create(KEPT + "/" + other)
        d.sh("sync . && touch g && setfattr -n user.zk.create -v ephemeral . && touch h")
        t.check(is_ephemeral(d.p("h")) and not is_ephemeral(d.p("g")))
        for other in ("nonsense", "@1", "%2Fx@", "%2Fx@12345678901234567", "%2Fx@xyz"):
            d.zk.delete(KEPT + "/" + other)


@t.test("open with O_CREAT makes what another has made since the name was looked up, and removed again")
def _():
    with Gated("mount") as g, t.Session(common.FAULT_PORT) as zk:
        g.m.sh("mkdir e")
        g.gate.hold = Gate.CREATE2
        shell = g.m.start("echo v > e/f")
        t.check(g.gate.held.wait(10), "the create came")
        zk.create("/e/f", b"another's")
        g.gate.go_on_to(Gate.GET_DATA)
        zk.delete("/e/f")
        g.gate.hold = None
        g.gate.go.set()
        t.equal(g.m.finish(shell)[0], 0)
        t.equal(zk.get("/e/f")[0], b"v\n")


@t.test("container: gone behind its last child")
def _():
    server = mount.new_server(common.FAULT_PORT, **mount.FAST)
    try:
        with mount.Mount("127.0.0.1:%d" % common.FAULT_PORT) as m:
            m.sh("mkdir on off && setfattr -n user.zk.create -v container on && mkdir on/c off/c on/unused && "
                 "touch on/f && stat -c %A on/c && touch on/c/x off/c/x && rm on/c/x off/c/x", "drwxr-xr-x\n")
            t.wait_for(lambda: not os.path.exists(m.path + "/on/c"), 10, "the container's end")
            m.sh("ls on off", "off:\nc\n\non:\nf\nunused\n")
    finally:
        server.close()


@t.test("ttl: EOPNOTSUPP from a server without extendedTypesEnabled, which ours has and Apache's has not by default")
def _():
    server = None if common.APACHE else mount.new_server(common.FAULT_PORT, extendedTypesEnabled="false")
    try:
        port = common.PORT if common.APACHE else common.FAULT_PORT
        if common.APACHE:
            common.server()
        with mount.Mount("127.0.0.1:%d" % port) as m:
            m.sh("mkdir without && setfattr -n user.zk.create -v ttl=100 without")
            fails_with(errno.EOPNOTSUPP, make, m.path + "/without/f")
            fails_with(errno.EOPNOTSUPP, os.mkdir, m.path + "/without/d")
            m.sh("setfattr -n user.zk.create -v container without && mkdir without/c && "
                 "setfattr -n user.zk.create -v persistent without && touch without/f && rm -r without")
    finally:
        if server:
            server.close()
    if not common.APACHE:
        with Dir() as d:
            set_flags(d.path, "ttl=100")
            make(d.p("f"))
            os.mkdir(d.p("d"))


@t.test("ttl: gone after its time")
def _():
    server = mount.new_server(common.FAULT_PORT, extendedTypesEnabled="true", **mount.FAST)
    try:
        with mount.Mount("127.0.0.1:%d" % common.FAULT_PORT) as m:
            m.sh("mkdir short long && setfattr -n user.zk.create -v ttl=1,sequential short && "
                 "setfattr -n user.zk.create -v ttl=1000 long && touch long/f && mkdir long/d && "
                 "exec 3> short/job- && getfattr --only-values -n user.zk.name /dev/fd/3 && mkdir short/d-",
                 "job-0000000000")
            t.wait_for(lambda: os.listdir(m.path + "/short") == [], 10, "the end of the short ones")
            m.sh("ls long && stat -c %A long/f", "d\nf\n-rw-r--r--\n")
    finally:
        server.close()


@t.test("sequential: the descriptor is of the znode that the server named, and the name asked for does not exist")
def _():
    with Dir() as d:
        set_flags(d.path, "sequential")
        d.sh("exec 3> job- && getfattr --only-values -n user.zk.name /dev/fd/3 && echo && "
             "getfattr --only-values -n user.zk.path /dev/fd/3 && test ! -e job- && echo one >&3 && "
             "cat job-0000000000 && echo two >> job-0000000000 && stat -L -c ' %s' /dev/fd/3 && ls",
             "job-0000000000\n" + d.z("job-0000000000") + "one\n 8\njob-0000000000\n")
        fd = os.open(d.p("job-"), os.O_CREAT | os.O_EXCL | os.O_RDWR)
        try:
            t.equal(os.getxattr(fd, "user.zk.name"), b"job-0000000001")
            os.write(fd, b"value")
            t.equal(os.pread(fd, 100, 0), b"value")
            t.equal(os.fstat(fd).st_size, 5)
            t.equal(os.fstat(fd).st_ino, os.stat(d.p("job-0000000001")).st_ino)
            os.truncate(fd, 2)
            t.equal(d.get("job-0000000001"), b"va")
        finally:
            os.close(fd)
        fails_with(errno.ENOENT, os.stat, d.p("job-"))
        set_flags(d.path, "persistent")
        make(d.p("job-"))
        t.equal(sorted(d.zk.children(d.znode)), ["job-", "job-0000000000", "job-0000000001"])


@t.test("sequential: touch, mknod, mkdir and cp each make one more znode")
def _():
    with Dir() as d:
        set_flags(d.path, "sequential")
        d.sh("touch a- && touch a- && mkdir d- && mkdir -p d- && echo v > /tmp/zkfs-flags.$$ && "
             "cp /tmp/zkfs-flags.$$ c- && rm /tmp/zkfs-flags.$$")
        os.mknod(d.p("n-"), stat.S_IFREG | 0o600)
        d.sh("ls", "a-0000000000\na-0000000001\nc-0000000004\nd-0000000002\nd-0000000003\nn-0000000005\n")
        t.equal((d.get("d-0000000002"), d.get("a-0000000000"), d.get("c-0000000004")), (None, b"", b"v\n"))
        d.sh("mkdir d-0000000002/x && ls d-0000000002", "x\n")


@t.test("sequential: creators at the same time get a znode each, and each descriptor its own")
def _():
    with Dir() as d, second_mount() as other:
        set_flags(d.path, "sequential")
        loop = ("for i in {1..25}; do exec 3> q- && echo $NAME$i >&3 && "
                "getfattr --only-values -n user.zk.name /dev/fd/3 && echo \" $NAME$i\" || exit 1; done")
        shells = [(m, m.start("cd %s && NAME=%s && %s" % (d.name, name, loop)))
                  for m, name in ((d.m, "a"), (d.m, "b"), (other, "c"))]
        said = {}
        for m, shell in shells:
            status, out, err = m.finish(shell, 60)
            t.equal(status, 0, err)
            said.update(line.split() for line in out.splitlines())
        t.equal(len(said), 75)
        t.equal(sorted(said), sorted(d.zk.children(d.znode)))
        for name, value in said.items():
            t.equal(d.get(name).decode(), value + "\n")


@t.test("sequential: a name that would be too long for the mount with its number is ENAMETOOLONG")
def _():
    with Dir() as d:
        set_flags(d.path, "sequential")
        make(d.p("x" * 245))
        fails_with(errno.ENAMETOOLONG, make, d.p("x" * 246))
        fails_with(errno.ENAMETOOLONG, os.mkdir, d.p("x" * 255))
        t.equal(os.listdir(d.path), ["x" * 245 + "0000000000"])
        set_flags(d.path, "persistent")
        make(d.p("x" * 255))


@t.test("ephemeral sequential: both, and .data of such a directory is still its own data")
def _():
    with Dir() as d:
        set_flags(d.path, "ephemeral sequential")
        d.sh("touch m- && mkdir m- && echo text > .data && ls -A", ".data\nm-0000000000\nm-0000000001\n")
        t.check(is_ephemeral(d.p("m-0000000000")) and is_ephemeral(d.p("m-0000000001")))
        t.equal(d.zk.get(d.znode)[0], b"text\n")


@t.test("the ACL of the znodes that keep flags: everybody reads, who may change follows -o acl")
def _():
    with Dir() as d:
        with mount.Mount("127.0.0.1:%d" % common.PORT, "acl=ip:127.0.0.1/32:cdrwa") as m:
            set_flags(os.path.join(m.path, d.name), "ephemeral")
        name, = kept(d.zk, d.znode)
        t.equal(os.getxattr(d.m.path + KEPT + "/" + name, "user.zk.acl"),
                b"ip:127.0.0.1/32:cdrwa,world:anyone:r")
        make(d.p("f"))
        t.check(is_ephemeral(d.p("f")))


def once(d, words, path=""):
    """Creation in the test's folder with these words, once."""
    return os.path.join(d.m.path, ".zk/create", words) + d.znode + ("/" + path if path else "")


@t.test(".zk/create/WORDS/PATH: one creation with these flags, whatever the directory's are")
def _():
    with Dir() as d:
        os.mkdir(once(d, "ephemeral", "e"))
        make(once(d, "ephemeral", "f"))
        make(once(d, "persistent", "p"))
        d.sh("touch q")
        t.equal([is_ephemeral(d.p(name)) for name in "efpq"], [True, True, False, False])
        set_flags(d.path, "ephemeral")
        os.mkdir(once(d, "persistent", "sub"))
        make(once(d, "sequential", "sub/job-"))
        t.equal(os.listdir(d.p("sub")), ["job-0000000000"])
        d.sh("touch r")
        t.equal([is_ephemeral(d.p(name)) for name in ("r", "sub", "sub/job-0000000000")], [True, False, False])
        fails_with(errno.EPERM, os.mkdir, once(d, "ephemeral,owner=open", "x"))
        if common.APACHE:
            fails_with(errno.EOPNOTSUPP, os.mkdir, once(d, "ttl=5", "x"))
        else:
            os.mkdir(once(d, "ttl=500", "x"))
        fails_with(errno.ENAMETOOLONG, os.mkdir, once(d, "sequential", "x" * 250))


@t.test(".zk/create/WORDS/PATH: a member of a sequence as long as a descriptor is open")
def _():
    with Dir() as d:
        words = "ephemeral,sequential,owner=open"
        d.sh("exec 9> %s && echo v >&9 && getfattr --only-values -n user.zk.name /dev/fd/9 && cat m-0000000000 && "
             "getfattr --only-values -n user.zk.path /dev/fd/9" % once(d, words, "m-"),
             "m-0000000000v\n" + d.z("m-0000000000"))
        t.wait_for(lambda: d.zk.children(d.znode) == [], 15, "its end")


@t.test(".zk/create/WORDS/PATH: the tree is below it; wrong words are EINVAL, with a log line; rename is EPERM")
def _():
    with Dir() as d:
        d.sh("echo v > f && mkdir sub && touch sub/g")
        for words in ("ephemeral,sequential", "sequential,ephemeral", "sequential ephemeral"):
            t.equal(sorted(os.listdir(once(d, words))), ["f", "sub"])
            t.equal(os.listdir(once(d, words, "sub")), ["g"])
            with open(once(d, words, "f")) as g:
                t.equal(g.read(), "v\n")
            t.equal(os.getxattr(once(d, words, "f"), "user.zk.path").decode(), d.z("f"))
        with open(once(d, "ephemeral", "f"), "w") as g:
            g.write("w")
        t.equal((d.get("f"), is_ephemeral(d.p("f"))), (b"w", False))
        os.unlink(once(d, "ephemeral", "f"))
        t.check(not os.path.exists(d.p("f")))
        fails_with(errno.EPERM, os.rename, once(d, "ephemeral", "sub"), once(d, "ephemeral", "sub2"))
        fails_with(errno.EPERM, os.rename, d.p("sub"), once(d, "ephemeral", "sub2"))
        for words, bad in (("nonsense", "nonsense"), ("ephemeral,ttl=5", "ttl=5"), ("owner=open", "owner=open")):
            before = d.m.log().count('"%s"' % bad)
            fails_with(errno.EINVAL, os.stat, d.m.path + "/.zk/create/" + words)
            t.check(d.m.log().count('"%s"' % bad) > before, d.m.log())
        t.equal(os.listdir(d.m.path + "/.zk/create"), [])
