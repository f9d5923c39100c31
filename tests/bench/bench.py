"""Ours beside Apache's server, in turn, in one run: operations per second, p50, p99, and ratios of the medians of
the rounds. Both keep their data on the same disk; both sync before they answer.

Usage: bench.py [--quick] [--pin] [--dir DIR] [--only NAME] [server] [mount] [start] [snapshot] [ensemble] [failover]
server, mount, start and snapshot compare one replica with Apache's standalone server, ensemble and failover three
with three. snapshot is about a million znodes: starts, memory, and writes while a snapshot is taken.
--pin puts the servers and zkfs on CPU 0 and the clients on CPU 1; without it the kernel schedules freely.
--first puts all of these before what else the machine does (SCHED_RR): of use where it is not idle."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["ZKFS_SRC"], "tests", "compat"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ensembles  # noqa: E402  pylint: disable=wrong-import-position
import server  # noqa: E402  pylint: disable=wrong-import-position
import snapshots  # noqa: E402  pylint: disable=wrong-import-position
import wire  # noqa: E402  pylint: disable=wrong-import-position

BUILD = os.environ["ZKFS_BUILD"]
VALUE_BYTES = 100
PIPELINED = (64, 8)
LINES = [(op, clients, depth) for op in ("get", "set", "create") for clients, depth in ((1, 1), PIPELINED)]
FILE_LINES = ["read", "stat", "write"]
FILE_NAMES = {"read": "open+read+close", "stat": "stat", "write": "open+write+close"}


class Options:
    pin = False
    first = False


def pinned(cpu, command):
    command = ["chrt", "-r", "1"] + command if Options.first else command
    return ["taskset", "-c", str(cpu)] + command if Options.pin else command


class Apache(server.Apache):
    def command(self):
        return pinned(0, super().command())


class Ours(server.Ours):
    def command(self):
        return pinned(0, super().command())


def measured(command):
    """Runs a load generator; its numbers by name."""
    p = subprocess.run(pinned(1, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=600, check=False)
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {p.stderr.strip()}")
    result = {k: float(v) for k, v in (x.split("=") for x in p.stdout.split())}
    if result["errors"]:
        raise RuntimeError(f"{' '.join(command)}: {result['errors']:.0f} operations failed")
    return result


def load(port, op, clients, depth, ms, parent, count=0):
    return measured([os.path.join(BUILD, "tests/bench/bench_load"), str(port), op, str(clients), str(depth),
                     str(ms), str(VALUE_BYTES), parent] + ([str(count)] if count else []))


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        kib = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return kib / 1024


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def print_lines(title, names, results):
    """A row for each line and server, and the ratios of the medians below each pair."""
    print(f"\n{title}\n{'':30}{'':>7} {'ops/s':>10} {'p50 us':>10} {'p99 us':>10}")
    for name in names:
        row = {}
        for who in [w for w in ("ours", "apache") if (name, w) in results]:
            row[who] = [median(results[name, who], k) for k in ("rate", "p50", "p99")]
            rate, p50, p99 = row[who]
            print(f"{name:30}{who:>7} {rate:10.0f} {p50:10.1f} {p99:10.1f}")
        if len(row) == 2:
            a, b = row["ours"], row["apache"]
            print(f"{'':30}{'ratio':>7} {a[0] / b[0]:10.2f} {b[1] / a[1]:10.2f} {b[2] / a[2]:10.2f}", flush=True)


def bench_server(servers, rounds, ms):
    """get, set and create over the protocol."""
    results = {}
    for srv in servers:
        # A JVM is slow until it has compiled what it runs often.
        for op, clients, depth in LINES:
            load(srv.port, op, clients, depth, 3 * ms, f"/warm-{op}-{clients}")
    for n in range(rounds):
        for op, clients, depth in LINES:
            name = f"{op}, {clients} client{'s' if clients > 1 else ''} x {depth}"
            for srv in servers if n % 2 == 0 else servers[::-1]:
                r = load(srv.port, op, clients, depth, ms, f"/b{n}-{op}-{clients}")
                results.setdefault((name, srv.name), []).append(r)
    names = list(dict.fromkeys(name for name, _ in results))
    print_lines("Over the protocol, CLIENTS x unanswered requests on each", names, results)


def mounted(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == point for line in f)


class Mount:
    """zkfs on one of the servers."""

    def __init__(self, folder, srv):
        self.point = os.path.join(folder, "mount-" + srv.name)
        os.makedirs(self.point)
        with open(self.point + ".log", "ab") as log:
            self.process = subprocess.Popen(
                pinned(0, [os.path.join(BUILD, "fs/zkfs"), f"127.0.0.1:{srv.port}", self.point, "-f"]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not wire.wait_for(lambda: mounted(self.point) or self.process.poll() is not None) \
                or self.process.poll() is not None:
            raise RuntimeError(f"zkfs does not mount {srv.name}; see {self.point}.log")

    def end(self):
        for command in (["umount", self.point], ["umount", "-l", self.point]):
            if not mounted(self.point) or subprocess.run(command, stderr=subprocess.DEVNULL,
                                                         check=False).returncode == 0:
                break
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def bench_mount(folder, servers, rounds, ms):
    mounts, results = {}, {}
    try:
        for srv in servers:
            mounts[srv.name] = Mount(folder, srv)
        program = os.path.join(BUILD, "tests/bench/bench_files")
        for n in range(-1, rounds):
            for op in FILE_LINES:
                for srv in servers if n % 2 == 0 else servers[::-1]:
                    path = os.path.join(mounts[srv.name].point, "bench-file")
                    r = measured([program, path, op, str(ms), str(VALUE_BYTES)])
                    # The first round warms up.
                    if n >= 0:
                        results.setdefault((FILE_NAMES[op], srv.name), []).append(r)
        print_lines("Through the mount, one process, no caching", [FILE_NAMES[o] for o in FILE_LINES], results)
    finally:
        for m in mounts.values():
            m.end()


def first_request_ms(srv):
    """From the start of the process to the first answer to a read of a session of its own.

    `srvr` says when: a session asked of Apache's server earlier may hang until the client gives up."""
    begun = time.monotonic()
    srv.begin()
    while True:
        try:
            if "Mode:" in server.word(srv.port, "srvr", timeout=1):
                break
        except OSError:
            pass
        if srv.process.poll() is not None or time.monotonic() - begun > 120:
            raise RuntimeError(f"{srv.name} does not start:\n{srv.tail()}")
        time.sleep(0.0005)
    s = wire.Session(srv.port)
    err = s.call("exists", wire.watched("/"))[2]
    took = (time.monotonic() - begun) * 1000
    s.end()
    if err != 0:
        raise RuntimeError(f"{srv.name}: exists / gives {err}")
    return took


def bench_start(folder, rounds, txns):
    """Memory of an idle server, and how soon it serves."""
    print("\nStart and memory")
    for cls, port in ((Ours, 23741), (Apache, 23742)):
        times, idle = [], 0.0
        for n in range(rounds):
            srv = cls(os.path.join(folder, f"start{n}"), port)
            times.append(first_request_ms(srv))
            time.sleep(0.5)
            idle = max(idle, rss_mib(srv.process.pid))
            srv.stop()
        print(f"{cls.name:8} empty log: first request served after {statistics.median(times):.0f} ms "
              f"(median of {rounds}), idle RSS {idle:.1f} MiB", flush=True)
        srv = cls(os.path.join(folder, "long"), port)
        srv.start()
        r = load(port, "set", 16, 64, 600000, "/t", txns)
        srv.stop()
        took = first_request_ms(srv)
        print(f"{cls.name:8} {txns} txns (set, {VALUE_BYTES} bytes, made at {r['rate']:.0f}/s) in its files: "
              f"first request served after {took:.0f} ms, RSS {rss_mib(srv.process.pid):.1f} MiB", flush=True)
        srv.stop()


class ApacheLarge(Apache):
    """With the heap that its own zkServer.sh gives it: a million znodes do not fit the 512 MiB of the other parts."""

    def command(self):
        return ["-Xmx1000m" if word == "-Xmx512m" else word for word in super().command()]


def bench_snapshot(folder, only, quick):
    servers = [cls(os.path.join(folder, "snapshot"), port) for cls, port in ((Ours, 23751), (ApacheLarge, 23752))
               if only in (None, cls.name)]
    paced = os.path.join(BUILD, "tests/bench/bench_paced")
    try:
        snapshots.run(folder, servers, pinned(1, [paced]), 100000 if quick else 1000000, VALUE_BYTES, 2 if quick else 5,
                      30 if quick else 90)
    finally:
        for srv in servers:
            srv.stop()


def bench_ensembles(folder, parts, only, rounds, ms):
    """Three with three."""
    running = []
    try:
        for name in ("ours", "apache"):
            if only in (None, name):
                running.append(ensembles.new(name, folder, lambda command: pinned(0, command)))
        if "ensemble" in parts:
            ensembles.rates(running, rounds, ms, load, print_lines, rss_mib)
        if "failover" in parts:
            ensembles.failover(running, 2 * rounds)
    finally:
        for e in running:
            e.close()


def header(folder):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    disk = subprocess.run(["df", "--output=source,fstype", folder], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.splitlines()[1]
    print(f"{os.cpu_count()} x {model}; kernel {os.uname().release}; data on {' '.join(disk.split())}")
    load_1min = os.getloadavg()[0]
    print(f"load average before: {load_1min:.1f}" + ("" if load_1min < 0.5 else
          " - NOT IDLE: who waits for the disk waits for a time slice (4 ms) besides; repeat this on an idle machine"))
    print("pinning: " + ("servers and zkfs on CPU 0, clients on CPU 1" if Options.pin
                         else "none, the kernel schedules freely")
          + ("; SCHED_RR" if Options.first else ""))
    print(f"values of {VALUE_BYTES} bytes; Apache's forceSync is its default (yes); medians of interleaved rounds; "
          "ratio > 1: ours is better")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--pin", action="store_true")
    options.add_argument("--first", action="store_true")
    options.add_argument("--dir", help="where the servers keep their data (a folder on the disk to measure)")
    options.add_argument("--only", choices=("ours", "apache"), help="of snapshot and ensembles: only these")
    options.add_argument("parts", nargs="*", metavar="server|mount|start|snapshot|ensemble|failover")
    options = options.parse_args()
    Options.pin, Options.first = options.pin, options.first
    rounds, ms, txns = (2, 300, 100000) if options.quick else (5, 1000, 1000000)
    parts = options.parts or ["server", "mount", "start", "snapshot", "ensemble", "failover"]
    folder = tempfile.mkdtemp(prefix="bench.", dir=options.dir)
    servers = []
    try:
        header(folder)
        if "server" in parts or "mount" in parts:
            servers = [Ours(folder, 23731), Apache(folder, 23732)]
            for srv in servers:
                srv.start()
        if "server" in parts:
            bench_server(servers, rounds, ms)
        if "mount" in parts:
            bench_mount(folder, servers, rounds, ms)
        for srv in servers:
            srv.stop()
        if "start" in parts:
            bench_start(folder, rounds, txns)
        if "snapshot" in parts:
            bench_snapshot(folder, options.only, options.quick)
        if "ensemble" in parts or "failover" in parts:
            bench_ensembles(folder, parts, options.only, rounds, ms)
    finally:
        for srv in servers:
            srv.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
