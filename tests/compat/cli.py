"""zkCli.sh, Debian's, fed from standard input. Usage: cli.py PORT. Prints its answers without what differs
from run to run: prompts, times, zxids, session ids."""

import re
import subprocess
import sys

COMMANDS = """
create /cli v
create /cli again
create /cli/a "two words"
create -e /cli/e eph
create -s /cli/s- seq
create -s -e /cli/s- both
create /cli/none/x y
create /cli/e/child x
ls /
ls /cli
ls -s /cli
ls -R /cli
ls /cli/none
get /cli/a
get -s /cli/a
get /cli/none
set /cli/a three
set -v 1 /cli/a four
set -v 1 /cli/a five
set -s /cli/a six
stat /cli/a
stat /cli/none
getAcl /cli
getAcl -s /cli
addauth digest me:secret
setAcl /cli/a auth:me:cdrwa
getAcl /cli/a
setAcl /cli/a nosuch:x:r
create /cli/acl x world:anyone:r
set /cli/acl y
get -w /cli/a
set /cli/a fires
ls -w /cli
create /cli/fires x
stat -w /cli/later
create /cli/later x
delete -v 9 /cli/fires
delete /cli/fires
delete /cli
delete /cli/none
sync /cli
deleteall /cli/a
deleteall /cli
ls /
version
"""
# The server's own answer to zxids, times and so on is compared elsewhere.
HIDE = [
    (r"^(cZxid|mZxid|pZxid) = 0x[0-9a-f]+", r"\1 = ZXID"),
    (r"^(ctime|mtime) = .*", r"\1 = TIME"),
    (r"^ephemeralOwner = 0x[1-9a-f][0-9a-f]*", "ephemeralOwner = OWNER"),
    (r"sessionid: 0x[0-9a-f]+", "sessionid: ID"),
]
NOISE = re.compile(r"^(Connecting to|Welcome to ZooKeeper|JLine support|\s*$|SLF4J|log4j|ZooKeeper CLI version|"
                   r"\d{4}-\d\d-\d\d )|^WATCHER::$")


def main():
    # zkCli.sh puts its log settings and its class path together; nothing of it is repeated here.
    p = subprocess.run(
        ["/usr/share/zookeeper/bin/zkCli.sh", "-server", f"127.0.0.1:{sys.argv[1]}", "-waitforconnection"],
        input=COMMANDS.lstrip("\n"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
        check=False)
    lines, events = [], []
    for line in p.stdout.splitlines():
        line = re.sub(r"^\[zk: [^\]]*\] ", "> ", line)
        if NOISE.match(line):
            continue
        for pattern, text in HIDE:
            line = re.sub(pattern, text, line)
        # Events come from another thread, anywhere between the answers.
        (events if line.startswith("WatchedEvent") else lines).append(line)
    print("\n".join(lines + sorted(events)))
    return p.returncode


if __name__ == "__main__":
    sys.exit(main())
