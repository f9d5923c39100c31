"""kazoo's recipes, several clients at once. Usage: recipes.py PORT. Prints what must not depend on timing."""

import logging
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, LockTimeout
from kazoo.recipe.barrier import DoubleBarrier

import wire

logging.basicConfig(level=logging.CRITICAL)
WAIT = 20


class Clients:
    """Some sessions, each ended at the end."""

    def __init__(self, port, count):
        self.list = [KazooClient(hosts=f"127.0.0.1:{port}", timeout=10) for _ in range(count)]
        for c in self.list:
            c.start(timeout=15)

    def __enter__(self):
        return self.list

    def __exit__(self, *_):
        for c in self.list:
            c.stop()
            c.close()


def say(step, text):
    print(f"{step}: {text}", flush=True)


def all_of(functions):
    """Runs each in a thread; the results, or what they raised."""
    results = [None] * len(functions)

    def one(n):
        try:
            results[n] = functions[n]()
        except Exception as e:  # pylint: disable=broad-except
            results[n] = type(e).__name__

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(len(functions))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(WAIT)
    return results


def lock(port):
    inside, most = [], []

    def work(client, name):
        for _ in range(5):
            with client.Lock("/r/lock", name):
                inside.append(name)
                most.append(len(inside))
                inside.remove(name)
        return "done"

    with Clients(port, 4) as clients:
        say("Lock", all_of([lambda c=c, n=n: work(c, str(n)) for n, c in enumerate(clients)]))
        say("Lock, at most inside", max(most))
        held = clients[0].Lock("/r/lock", "zero")
        say("Lock, acquire", held.acquire())
        other = clients[1].Lock("/r/lock", "one")
        say("Lock, not blocking", other.acquire(blocking=False))
        say("Lock, contenders", other.contenders())
        try:
            other.acquire(timeout=0.3)
            say("Lock, with a timeout", "acquired")
        except LockTimeout:
            say("Lock, with a timeout", "LockTimeout")
        waiter = clients[2].Lock("/r/lock", "two")
        got = threading.Event()
        threading.Thread(target=lambda: waiter.acquire(timeout=WAIT) and got.set(), daemon=True).start()
        wire.wait_for(lambda: "two" in other.contenders())
        say("Lock, waits", not got.is_set())
        # The holder's session ends: the waiter has it.
        clients[0].stop()
        say("Lock, after the holder's end", got.wait(WAIT))
        waiter.release()


def read_write(port):
    with Clients(port, 3) as (a, b, c):
        first, second = a.ReadLock("/r/rw", "a"), b.ReadLock("/r/rw", "b")
        writer = c.WriteLock("/r/rw", "c")
        say("ReadLock, two", (first.acquire(timeout=WAIT), second.acquire(timeout=WAIT)))
        say("WriteLock, not blocking", writer.acquire(blocking=False))
        got = threading.Event()
        threading.Thread(target=lambda: writer.acquire(timeout=WAIT) and got.set(), daemon=True).start()
        wire.wait_for(lambda: len(a.get_children("/r/rw")) == 3)
        first.release()
        say("WriteLock, one reader left", got.wait(0.2))
        second.release()
        say("WriteLock, none left", got.wait(WAIT))
        say("ReadLock, beside a writer", a.ReadLock("/r/rw", "a").acquire(blocking=False))
        writer.release()


def semaphore(port):
    with Clients(port, 3) as (a, b, c):
        one, two, three = (x.Semaphore("/r/semaphore", max_leases=2) for x in (a, b, c))
        say("Semaphore, two leases", (one.acquire(timeout=WAIT), two.acquire(timeout=WAIT)))
        say("Semaphore, a third", three.acquire(blocking=False))
        one.release()
        say("Semaphore, a third after a release", three.acquire(timeout=WAIT))
        say("Semaphore, holders", len(a.Semaphore("/r/semaphore", max_leases=2).lease_holders()))
        two.release()
        three.release()


def election(port):
    leaders, inside, most = [], [], []

    def lead(name):
        inside.append(name)
        most.append(len(inside))
        leaders.append(name)
        inside.remove(name)

    with Clients(port, 3) as clients:
        runs = [lambda c=c, n=n: c.Election("/r/election", str(n)).run(lead, str(n))
                for n, c in enumerate(clients)]
        all_of(runs)
        say("Election, each led once", sorted(leaders))
        say("Election, at most at once", max(most))
        say("Election, contenders left", clients[0].Election("/r/election").contenders())


def queues(port):
    with Clients(port, 2) as (a, b):
        put, get = a.Queue("/r/queue"), b.Queue("/r/queue")
        say("Queue, empty", get.get())
        for n, priority in ((1, 100), (2, 100), (3, 50)):
            put.put(f"item {n}".encode(), priority)
        say("Queue, length", len(get))
        say("Queue", [get.get() for _ in range(4)])
        put, get = a.LockingQueue("/r/locking"), b.LockingQueue("/r/locking")
        put.put_all([b"one", b"two"])
        put.put(b"first", priority=10)
        say("LockingQueue, length", len(get))
        say("LockingQueue", get.get(timeout=WAIT))
        say("LockingQueue, holds", get.holds_lock())
        say("LockingQueue, the other gets the next", a.LockingQueue("/r/locking").get(timeout=WAIT))
        say("LockingQueue, consume", get.consume())
        say("LockingQueue, next", (get.get(timeout=WAIT), get.consume()))
        say("LockingQueue, nothing is left to get", get.get(timeout=0.2))


def counter(port):
    with Clients(port, 4) as clients:
        counters = [c.Counter("/r/counter") for c in clients]

        def add(one):
            for _ in range(10):
                one += 2
            return "done"

        say("Counter", all_of([lambda c=c: add(c) for c in counters]))
        say("Counter, value", counters[0].value)
        counters[0] -= 5
        say("Counter, value", counters[1].value)
        floating = clients[0].Counter("/r/float", default=0.5)
        floating += 0.25
        say("Counter, float", floating.value)


def barriers(port):
    with Clients(port, 3) as (a, b, c):
        barrier = a.Barrier("/r/barrier")
        barrier.create()
        say("Barrier, closed", b.Barrier("/r/barrier").wait(timeout=0.2))
        waits = [lambda x=x: x.Barrier("/r/barrier").wait(timeout=WAIT) for x in (b, c)]
        timer = threading.Timer(0.1, barrier.remove)
        timer.start()
        say("Barrier, removed", all_of(waits))
        timer.join()
        passed = []

        def through(client):
            double = DoubleBarrier(client, "/r/double", 3)
            double.enter()
            passed.append(1)
            double.leave()
            return len(passed) == 3 or wire.wait_for(lambda: len(passed) == 3)

        say("DoubleBarrier", all_of([lambda x=x: through(x) for x in (a, b, c)]))
        say("DoubleBarrier, left", a.get_children("/r/double"))


def party(port):
    with Clients(port, 2) as (a, b):
        first, second = a.Party("/r/party", "ann"), b.Party("/r/party", "bob")
        first.join()
        second.join()
        say("Party", (sorted(first), len(second)))
        second.leave()
        say("Party, one left", (sorted(first), len(first)))
        shallow = b.ShallowParty("/r/shallow", "bob")
        shallow.join()
        say("ShallowParty", sorted(shallow))
        seen = []
        a.ensure_path("/r/watched")
        a.ChildrenWatch("/r/watched", lambda names: seen.append(sorted(names)))
        b.create("/r/watched/k", b"", ephemeral=True)
        wire.wait_for(lambda: ["k"] in seen)
        b.stop()
        wire.wait_for(lambda: seen[-1] == [])
        say("ChildrenWatch", seen)
        values = []
        a.create("/r/value", b"0")
        a.DataWatch("/r/value", lambda value, stat: values.append((value, stat.version if stat else None)))
        for n in (1, 2):
            a.set("/r/value", str(n).encode())
            wire.wait_for(lambda n=n: values[-1][0] == str(n).encode())
        a.delete("/r/value")
        wire.wait_for(lambda: values[-1][0] is None)
        say("DataWatch", values)


def main():
    port = int(sys.argv[1])
    for recipe in (lock, read_write, semaphore, election, queues, counter, barriers, party):
        try:
            recipe(port)
        except (KazooException, OSError) as e:
            say(recipe.__name__, f"broke off: {type(e).__name__} {e}")
    with Clients(port, 1) as (a,):
        say("left behind", sorted(a.get_children("/r")))
        a.delete("/r", recursive=True)


if __name__ == "__main__":
    main()
