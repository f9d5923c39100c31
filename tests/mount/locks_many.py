"""Many contenders for locks: order, exclusion, who is woken; at random, and while the server is killed."""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import time

import common
from common import t
from lock_tools import Hosts, Open, Child, holder, wait_locked, end

# How often the lock of the contenders is taken in all.
ACQUISITIONS = int(os.environ.get("ZKFS_TEST_ACQUISITIONS", "1000" if common.APACHE else "10000"))


@t.test("many contenders over four mounts: the order of grant is the order of asking, and no lock is held twice")
def _():
    count, mounts = 100, 4
    with Hosts(mounts, "timeo=60,timeout=30", tickTime=2000) as h:
        shared = mmap.mmap(-1, 8 * (2 + count))
        words = (ctypes.c_int64 * (2 + count)).from_buffer(shared)
        with Open(h.mounts[0]) as gate:
            gate.flock(fcntl.LOCK_EX)

            def contend(number):
                def work(me):
                    fd = os.open(h.mounts[number % mounts].path + "/f", os.O_RDONLY)
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    ok = words[0] == 0
                    words[0] = number + 1
                    words[2 + words[1]] = number
                    words[1] += 1
                    ok = ok and words[0] == number + 1
                    words[0] = 0
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    me.tell("done" if ok else "violation")
                return work
            children = []
            for number in range(count):
                children.append(Child(contend(number)))
                h.wait_queue(number + 2)
            gate.flock(fcntl.LOCK_UN)
        t.equal([c.line() for c in children], ["done"] * count)
        for c in children:
            c.end()
        t.equal(list(words[2:2 + count]), list(range(count)))
        del words


@t.test("many contenders take one lock again and again over four mounts, with no violation")
def _():
    count, mounts = 100, 4
    rounds = max(1, ACQUISITIONS // count)
    with Hosts(mounts, "timeo=120,timeout=30", tickTime=2000) as h:
        shared = mmap.mmap(-1, 16)
        words = (ctypes.c_int64 * 2).from_buffer(shared)

        def contend(number):
            def work(me):
                fd = os.open(h.mounts[number % mounts].path + "/f", os.O_RDONLY)
                for _ in range(rounds):
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    ok = words[0] == 0
                    words[0] = number + 1
                    n = words[1]
                    time.sleep(0)
                    ok = ok and words[0] == number + 1
                    words[1] = n + 1
                    words[0] = 0
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    if not ok:
                        me.tell("violation")
                me.tell("done")
            return work
        began = time.monotonic()
        children = [Child(contend(number)) for number in range(count)]
        t.equal([c.line() for c in children], ["done"] * count)
        took = time.monotonic() - began
        for c in children:
            c.end()
        t.equal(words[1], rounds * count)
        t.note("%d acquisitions in %.1f s" % (rounds * count, took))
        del words


@t.test("each release wakes exactly one of many waiters")
def _():
    with Hosts(2, "timeo=60,timeout=40", tickTime=4000) as h:
        with Open(h.mounts[0]) as gate:
            gate.flock(fcntl.LOCK_EX)

            def watches():
                return int(next(line for line in h.server.word("mntr").splitlines()
                                if line.startswith("zk_watch_count")).split()[1])
            others = watches()  # the mounts' own, of the create flags
            waiters = []
            for i in range(30):
                waiters.append(holder(h.mounts[1]))
                h.wait_queue(i + 2)
            t.wait_for(lambda: watches() - others == 30, 10, "a watch of each waiter")

            def sent():
                return int(next(line for line in h.server.word("mntr").splitlines()
                                if line.startswith("zk_packets_sent")).split()[1])
            for i in range(5):
                before = sent()
                if i == 0:
                    gate.flock(fcntl.LOCK_UN)
                else:
                    end(waiters[i - 1])
                wait_locked(waiters[i])
                t.equal(watches() - others, 29 - i, "one watch has fired")
                # The release's answer, the event, the next one's listing, and pings of two mounts.
                t.check(sent() - before <= 12, "%d packets for one release" % (sent() - before))
            for w in waiters[4:]:
                end(w)


def random_ranges(h, seed, children, rounds, kills=0):
    """Processes that lock and unlock at random; a table in shared memory knows who has which byte."""
    size = 16
    shared = mmap.mmap(-1, size * children)

    def contend(number):
        def work(me):
            rng = random.Random(seed * 1000 + number)
            fd = os.open(h.mounts[number % len(h.mounts)].path + "/f", os.O_RDWR)
            mine = memoryview(shared)[number * size:(number + 1) * size]  # 0 no lock, 1 read, 2 write
            for _ in range(rounds):
                start = rng.randrange(size)
                end_ = rng.randrange(start, size) + 1
                kind = rng.choice((fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.LOCK_UN))
                value = {fcntl.LOCK_SH: 1, fcntl.LOCK_EX: 2, fcntl.LOCK_UN: 0}[kind]
                for at in range(start, end_):  # less is told before it is let go, more when it is there
                    mine[at] = min(mine[at], value)
                wait = rng.random() < 0.5
                try:
                    fcntl.lockf(fd, kind if wait or value == 0 else kind | fcntl.LOCK_NB, end_ - start, start)
                except OSError as e:
                    if e.errno == errno.EDEADLK:
                        for at in range(size):
                            mine[at] = 0
                        fcntl.lockf(fd, fcntl.LOCK_UN)
                    elif e.errno != errno.EAGAIN:
                        raise
                    else:
                        continue
                    continue
                for at in range(start, end_):
                    mine[at] = value
                for at in range(size):
                    others = [shared[k * size + at] for k in range(children) if k != number]
                    if (mine[at] == 2 and any(others)) or (mine[at] == 1 and 2 in others):
                        me.tell("violation at byte %d: %d against %r" % (at, mine[at], others))
            for at in range(size):
                mine[at] = 0
            os.close(fd)
            me.tell("done")
        return work
    workers = [Child(contend(number)) for number in range(children)]
    for i in range(kills):
        time.sleep(0.2 + 0.01 * (seed % 10))  # at no particular moment
        h.server.kill()
        h.server.start()
    if kills > 0:
        h.zk = t.Session(common.FAULT_PORT, timeout_ms=60000)
    t.equal([c.line() for c in workers], ["done"] * children, "seed %d" % seed)
    for c in workers:
        c.end()
    h.wait_queue(0)


@t.test("random fcntl locks of many processes over three mounts never overlap wrongly")
def _():
    with Hosts(3, "timeo=60,timeout=30") as h:
        seed = int(os.environ.get("ZKFS_TEST_SEED", str(random.randrange(10 ** 6))))
        t.note("seed %d" % seed)
        random_ranges(h, seed, 9, 60)


@t.test("random fcntl locks go on rightly while the server is killed and started again")
def _():
    with Hosts(3, "timeo=60,timeout=30") as h:
        seed = int(os.environ.get("ZKFS_TEST_SEED", str(random.randrange(10 ** 6))))
        t.note("seed %d" % seed)
        random_ranges(h, seed, 6, 150, kills=3)


@t.test("locks hold while the server is killed and started again, again and again")
def _():
    with Hosts(3, "timeo=60,timeout=30") as h:
        shared = mmap.mmap(-1, 16)
        words = (ctypes.c_int64 * 2).from_buffer(shared)

        def contend(m):
            def work(me):
                fd = os.open(m.path + "/f", os.O_RDWR)
                rng = random.Random(m.path)
                for _ in range(40):
                    ranges = rng.random() < 0.5
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
                    ok = words[0] == 0
                    words[0] = os.getpid()
                    n = words[1]
                    if ranges:
                        fcntl.lockf(fd, fcntl.LOCK_UN, 5, 2)
                    ok = ok and words[0] == os.getpid()
                    words[1] = n + 1
                    words[0] = 0
                    fcntl.lockf(fd, fcntl.LOCK_UN)
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    if not ok:
                        me.tell("violation")
                me.tell("done")
            return work
        children = [Child(contend(m)) for m in h.mounts * 2]
        for i in range(4):
            want = (i + 1) * 40
            t.wait_for(lambda: words[1] >= want, 60, "%d rounds" % want)
            h.server.kill()
            h.server.start()
        h.zk = t.Session(common.FAULT_PORT, timeout_ms=60000)
        t.equal([c.line() for c in children], ["done"] * 6)
        for c in children:
            c.end()
        t.equal(words[1], 240)
        h.wait_queue(0)
        del words
