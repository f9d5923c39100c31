"""Prints the whole tree: every znode with its data, its ACL and all of its Stat, absolute. Usage: dump.py
PORT. Two dumps around a restart must be equal."""

import hashlib
import sys

import wire
from wire import Session, blob


def walk(s, path):
    xid, zxid, err, r = s.call("getData", wire.watched(path))
    data, stat = (r.blob(), r.stat()) if err == 0 else (None, None)
    shown = None if data is None else hashlib.sha256(data).hexdigest() if len(data) > 100 else data
    acl_err, acl = s.call("getACL", blob(path))[2:]
    print(path.replace(" ", "_"), err, shown, sorted(stat.items()) if stat else "", acl_err, acl.acls() if acl_err == 0 else "")
    xid, zxid, err, r = s.call("getChildren", wire.watched(path))
    for name in sorted(r.strings()) if err == 0 else ():
        walk(s, path.rstrip("/") + "/" + name)


def main():
    s = Session(int(sys.argv[1]))
    # Somebody who may read what these scripts have protected.
    for secret in ("bob:secret", "user:pass", "bob:pw"):
        s.call("auth", wire.auth("digest", secret), xid=-4)
    walk(s, "/")
    s.end()


if __name__ == "__main__":
    main()
