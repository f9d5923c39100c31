"""What is done to an ensemble: each function is one round, given the campaign, the load and the round's number."""
import time

import zkfs_test as t

# The sessions' timeout where a member is frozen; and longer than that, and than any silence that a member bears.
FREEZE_TIMEOUT_MS = 1200
FREEZE_S = 1.7


def kill_leader(c, load, i):
    m = c.e.leader()
    m.kill()
    load.wait_progress(20, text="writes behind the kill of the leader")
    m.start()
    m.wait_serving()


def kill_follower(c, load, i):
    m = c.random.choice(c.e.followers())
    m.kill()
    load.wait_progress(20, text="writes behind the kill of a follower")
    m.start()
    m.wait_serving()


def kill_all(c, load, i):
    c.e.kill_all()
    for m in c.random.sample(c.e.members, c.e.count):
        m.start()
        time.sleep(c.random.random() ** 3 * 0.2)  # a chance for each order
    c.e.wait_serving()


def kill_minority(c, load, i):
    """As many as can be missed, the leader among them."""
    gone = [c.e.leader()]
    gone += c.random.sample([m for m in c.e.members if m is not gone[0]], (c.e.count - 1) // 2 - 1)
    for m in gone:
        m.kill()
    load.wait_progress(20, text="writes of a bare majority")
    for m in gone:
        m.start()
    for m in gone:
        m.wait_serving()


def freeze(c, load, m):
    m.freeze()
    until = time.monotonic() + FREEZE_S
    load.wait_progress(20, text="writes while member %d is frozen" % m.number)
    t.wait_for(lambda: time.monotonic() > until, FREEZE_S + 1)
    m.thaw()
    m.wait_serving()


def freeze_leader(c, load, i):
    freeze(c, load, c.e.leader())


def freeze_follower(c, load, i):
    freeze(c, load, c.random.choice(c.e.followers()))


def others_than(c, m):
    return [o.number for o in c.e.members if o is not m]


def away(c, load, text):
    """The fault lasts until the rest has gone on, and a while."""
    load.wait_progress(30, text=text)
    time.sleep(c.random.random() * 0.5)  # a chance for each moment
    c.net.heal()
    c.e.wait_serving()


def part_leader(c, load, i):
    """Odd rounds: the clients on its side can go on asking it, and must not be told anything old."""
    m = c.e.leader()
    c.net.part([m.number], others_than(c, m) + ([c.clients] if i % 2 == 0 else []))
    away(c, load, "writes without the leader that was cut off")


def part_follower(c, load, i):
    m = c.random.choice(c.e.followers())
    c.net.part([m.number], others_than(c, m) + ([c.clients] if i % 2 == 0 else []))
    away(c, load, "writes without the follower that was cut off")


def one_way(c, load, i):
    """In turn: the leader is not heard, the leader does not hear, the same for a follower."""
    m = c.e.leader() if i % 4 < 2 else c.random.choice(c.e.followers())
    for other in others_than(c, m):
        c.net.cut(*((m.number, other) if i % 2 == 0 else (other, m.number)))
    away(c, load, "writes while member %d %s" % (m.number, "is not heard" if i % 2 == 0 else "does not hear"))


def part_ring(c, load, i):
    """Two members do not hear each other, and both hear the others."""
    a, b = c.random.sample(c.e.members, 2)
    c.net.part([a.number], [b.number])
    away(c, load, "writes while %d and %d are parted" % (a.number, b.number))


def part_minority(c, load, i):
    """A minority with the leader in it, or without, on one side; the clients on both."""
    few = (c.e.count - 1) // 2
    leader = c.e.leader()
    rest = [m for m in c.e.members if m is not leader]
    some = [leader] + c.random.sample(rest, few - 1) if i % 2 == 0 else c.random.sample(rest, few)
    numbers = [m.number for m in some]
    c.net.part(numbers, [m.number for m in c.e.members if m.number not in numbers])
    away(c, load, "writes of the majority")


def bad_network(c, load, i):
    """Delay and loss between all, differently in each direction; sometimes the leader dies in the middle of it."""
    hosts = list(range(1, c.e.count + 1)) + [c.clients]
    for a in hosts:
        for b in hosts:
            if a != b:
                c.net.slow(a, b, c.random.choice((0, 1, 3, 10)), c.random.choice((0, 0, 5, 20)))
    load.wait_progress(30, text="writes over a bad network")
    if i % 4 == 3:
        m = c.e.leader()
        m.kill()
        load.wait_progress(10, text="writes over a bad network without the leader")
        m.start()
    time.sleep(0.3)
    c.net.heal()
    c.e.wait_serving()


def long_absence(c, load, i):
    """A follower that missed much, and sometimes the leader's whole time besides."""
    m = c.random.choice(c.e.followers())
    m.kill()
    load.wait_progress(200, text="hundreds of writes without a follower")
    if i % 4 == 3 and c.e.count > 3:
        kill_leader(c, load, i)
    m.start()
    m.wait_serving()


def lost_data(c, load, i):
    """A member whose disk is new: it comes back by a snapshot, and does not vote before."""
    m = c.e.leader() if i % 4 == 3 else c.random.choice(c.e.followers())
    m.kill()
    load.wait_progress(20, text="writes without the member that lost its data")
    m.lose_data()
    m.start()
    m.wait_serving()


def short_log(c, load, i):
    """One is away while another one loses its data and comes back by a snapshot; then these two are left (of five:
    and one more), and the one that leads has a log that does not reach back to where the other was."""
    rest = c.random.sample(c.e.members, c.e.count)
    absent, fresh = rest[:2]
    fresh.kill()
    fresh.lose_data()
    fresh.start()
    fresh.wait_serving()
    absent.kill()
    load.wait_progress(30, text="writes without the absent one")
    # Those whose log is whole go, so that only the fresh one, of all who know the newest, can lead: it may
    # take a while until it has the last record too, and then it wins.
    gone = rest[2:2 + (c.e.count - 1) // 2]
    for m in gone:
        m.kill()
    absent.start()
    load.wait_progress(20, text="writes with a leader whose log may be short")
    for m in gone:
        m.start()
    for m in gone + [absent]:
        m.wait_serving()


def rolling_restart(c, load, i):
    for m in c.random.sample(c.e.members, c.e.count):
        status = m.stop()
        t.check(c.e.apache or status == 0, "member %d ended with status %s:\n%s" % (m.number, status, m.tail()))
        m.start()
        m.wait_serving()
