"""The four-letter words' answers by their shape: what a monitoring script parses. Usage: words.py PORT."""

import re
import sys

import server

PORT = int(sys.argv[1])
# What depends on the machine, the moment or the version: numbers, addresses, times.
SRVR = [r"Zookeeper version: \S.*", r"Latency min/avg/max: \d+/[\d.]+/\d+", r"Received: \d+", r"Sent: \d+",
        r"Connections: \d+", r"Outstanding: \d+", r"Zxid: 0x[0-9a-f]+", r"Mode: \w+", r"Node count: \d+"]
MNTR = ["zk_version", "zk_server_state", "zk_avg_latency", "zk_max_latency", "zk_min_latency",
        "zk_packets_received", "zk_packets_sent", "zk_num_alive_connections", "zk_outstanding_requests",
        "zk_znode_count", "zk_watch_count", "zk_ephemerals_count", "zk_approximate_data_size",
        "zk_open_file_descriptor_count", "zk_max_file_descriptor_count"]
CONF = ["clientPort", "dataDir", "dataLogDir", "tickTime", "maxClientCnxns", "minSessionTimeout",
        "maxSessionTimeout", "serverId"]


def say(step, text):
    print(f"{step}: {text}", flush=True)


def in_order(name, lines, patterns):
    """Each pattern matches a line, in this order."""
    at = 0
    for pattern in patterns:
        found = next((n for n in range(at, len(lines)) if re.fullmatch(pattern, lines[n])), None)
        say(f"{name} {pattern}", "there" if found is not None else "missing or out of order")
        at = found + 1 if found is not None else at


def main():
    say("ruok", repr(server.word(PORT, "ruok")))
    say("isro", repr(server.word(PORT, "isro")))
    in_order("srvr", server.word(PORT, "srvr").splitlines(), SRVR)
    say("srvr Mode", re.search(r"^Mode: (.*)$", server.word(PORT, "srvr"), re.M).group(1))
    stat = server.word(PORT, "stat").splitlines()
    in_order("stat", stat, [SRVR[0], "Clients:", r" /[\d.:a-f]+:\d+\[\d+\]\(queued=\d+,recved=\d+,sent=\d+\)"]
             + SRVR[1:])
    mntr = dict(line.split("\t", 1) for line in server.word(PORT, "mntr").splitlines() if "\t" in line)
    for key in MNTR:
        say(f"mntr {key}", "there" if key in mntr else "missing")
    for key in ("zk_server_state", "zk_ephemerals_count"):
        say(f"mntr {key} is", mntr.get(key))
    for key in MNTR[2:]:
        say(f"mntr {key} is a number", re.fullmatch(r"-?\d+(\.\d+)?", mntr.get(key, "")) is not None)
    conf = dict(line.split("=", 1) for line in server.word(PORT, "conf").splitlines() if "=" in line)
    for key in CONF:
        say(f"conf {key}", "there" if key in conf else "missing")
    for key in ("tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout"):
        say(f"conf {key} is", conf.get(key))
    say("conf clientPort is right", conf.get("clientPort") == str(PORT))
    say("a word in pieces", repr(pieces()))


def pieces():
    """A word that arrives in two packets."""
    import socket
    import time
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(b"ru")
        time.sleep(0.1)
        s.sendall(b"ok")
        return s.recv(100)


if __name__ == "__main__":
    main()
