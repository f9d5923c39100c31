"""Three replicas of ours beside three of Apache's: rates, memory, and how long nobody can write when the leader is
killed or frozen. Used by bench.py."""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.environ["ZKFS_SRC"], "tests", "lib"))
import ensemble  # noqa: E402
import zkfs_test as t  # noqa: E402

LINES = [(op, clients, depth) for op in ("set", "create", "get", "mixed", "syncget")
         for clients, depth in ((1, 1), (64, 8))]
NAMES = {"mixed": "get/set 90/10", "syncget": "sync+get"}
PORTS = {"ours": 26100, "apache": 26200}
# What an operator finds in the documentation's example.
CONFIG = {"tickTime": 2000, "initLimit": 10, "syncLimit": 5}
TIMEOUT_MS = 10000


def new(name, folder, launch):
    """An ensemble that serves; launch(command) is the command to run instead."""
    config = dict(CONFIG, preAllocSize=None if name == "apache" else 65536)
    config = {k: v for k, v in config.items() if v is not None}
    place = os.path.join(folder, "ensemble-" + name)
    os.makedirs(place, exist_ok=True)
    e = ensemble.Ensemble(3, port=PORTS[name], apache=name == "apache", config=config, folder=place,
                          wrapper=launch([]))
    e.name = name
    e.start()
    return e


def name_of(op, clients, depth):
    return f"{NAMES.get(op, op)}, {clients} client{'s' if clients > 1 else ''} x {depth}"


def patient(load):
    """Apache's followers sometimes do not answer a sync when nothing else goes on: that run is done again."""
    def run(*args):
        try:
            return load(*args)
        except RuntimeError as e:
            print(f"# done again: {e}", flush=True)
            return load(*args)
    return run


def rates(ensembles, rounds, ms, load, show, rss):
    """load(ports, op, clients, depth, ms, parent) measures; show(title, names, results) prints."""
    load, results = patient(load), {}
    ports = {e.name: ",".join(str(m.port) for m in e.members) for e in ensembles}
    for e in ensembles:
        for op, clients, depth in LINES:
            load(ports[e.name], op, clients, depth, 2 * ms, f"/warm-{op}-{clients}")
    for n in range(rounds):
        for op, clients, depth in LINES:
            for e in ensembles if n % 2 == 0 else ensembles[::-1]:
                r = load(ports[e.name], op, clients, depth, ms, f"/b{n}-{op}-{clients}")
                results.setdefault((name_of(op, clients, depth), e.name), []).append(r)
    names = list(dict.fromkeys(name for name, _ in results))
    show("Three replicas, clients spread over them, CLIENTS x unanswered requests on each", names, results)
    for e in ensembles:
        print(f"{e.name:8} RSS of leader and followers: " + ", ".join(
            f"{rss(m.process.pid):.0f} MiB" for m in [e.leader()] + e.followers()), flush=True)


def new_leader_ms(e, old, since):
    """From `since` until another one says that it leads."""
    def look():
        return any(m is not old and m.mode(0.2) == "leader" for m in e.members)
    t.wait_for(look, 60, "a new leader", step=0.002)
    return (time.monotonic() - since) * 1000


def one_failover(e, load, hit, mend):
    """(longest gap between acknowledged writes, time to a new leader), ms."""
    load.wait_progress(200)
    leader = e.leader()
    load.mark()
    since = time.monotonic()
    hit(leader)
    elected = new_leader_ms(e, leader, since)
    load.wait_progress(200, timeout=60)
    gap = load.count()["gap_ms"]
    mend(leader)
    e.wait_serving()
    return gap, elected


def restart(member):
    member.start()
    member.wait_serving()


def failover(ensembles, rounds):
    for what, hit, mend, count in (("kill -9 of the leader", lambda m: m.kill(), restart, rounds),
                                   ("the leader frozen (SIGSTOP)", lambda m: m.freeze(), lambda m: m.thaw(),
                                    max(1, rounds // 3))):
        print(f"\n{what}, 20 clients writing; ms, {count} rounds"
              f"\n{'':8} {'gap between acknowledged writes':>34} {'until another leads':>34}")
        medians = {}
        for e in ensembles:
            with_session(e)
            load = ensemble.Load(e, "/failover", clients=20, keys=24, rate=2000, timeout_ms=TIMEOUT_MS)
            both = [one_failover(e, load, hit, mend) for _ in range(count)]
            load.stop()
            text = []
            for values in zip(*both):
                text.append(f"median {statistics.median(values):.0f}, {min(values):.0f} to {max(values):.0f}")
            medians[e.name] = [statistics.median(values) for values in zip(*both)]
            print(f"{e.name:8} {text[0]:>34} {text[1]:>34}", flush=True)
        if len(medians) == 2:
            a, b = medians["ours"], medians["apache"]
            print(f"{'ratio':8} {b[0] / a[0]:34.2f} {b[1] / a[1]:34.2f}", flush=True)


def with_session(e):
    """The parent of the load's keys."""
    m = e.leader()
    with t.Session(m.port, host=m.host) as s:
        if not s.exists("/failover"):
            s.create("/failover")
        s.close_session()
