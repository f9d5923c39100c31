# zkfs-up and zkfs-down: what they promise. Sourced; a replica and a mount of this test's own.
# shellcheck shell=bash disable=SC2154 # src, up, down, work, point, dir and port are the caller's
ups=("$up" --dir "$dir" --port "$port")
downs=("$down" --dir "$dir")
pid_now() { cat "$dir/replica-1.pid" 2>/dev/null; }

# Wrong usage comes before anything is built or started.
expect "zkfs-up without a mount point says how it is used" 2 'usage: zkfs-up' "$up"
expect "zkfs-up --help says how it is used" 0 'usage: zkfs-up' "$up" --help
expect "zkfs-down --help says how it is used" 0 'usage: zkfs-down' "$down" --help
expect "several replicas are refused clearly" 2 'only 1 works' "${ups[@]}" --replicas 3 "$point"
expect "a bad number of replicas is refused" 2 'replicas x' "${ups[@]}" --replicas x "$point"
expect "a bad port is refused" 2 'port 70000' "$up" --port 70000 "$point"
expect "an unknown option is refused" 2 'unknown option --frob' "$up" --frob "$point"
expect "a second mount point is refused" 2 'more than one' "$up" a b
expect "zkfs-down where nothing is does nothing" 0 'nothing to end' "${downs[@]}" "$point"

expect "zkfs-up mounts" 0 "$point is mounted \(pid" "${ups[@]}" "$point"
holds "the mount point is one" mounted "$point"
for file in replica-1.pid replica-1.log replica-1/zoo.cfg replica-1/data; do
    holds "$file is there" test -e "$dir/$file"
done
holds "the replica serves on the port that was asked for" grep -qx "clientPort=$port" "$dir/replica-1/zoo.cfg"
before=$(pid_now)
expect "zkfs-up a second time starts nothing" 0 "is mounted already" "${ups[@]}" "$point"
holds "and the replica is the same" test "$before" = "$(pid_now)"
expect "another port than the replica's is refused" 1 "serves port $port" "$up" --dir "$dir" --port $((port + 1)) "$point"
expect "a port in use by another is refused" 1 "port $port is in use" "$up" --dir "$work/other" --port "$port" "$work/zk2"
expect "a foreign mount is refused" 1 'mount point already' "${ups[@]}" /proc
expect "zkfs-down leaves a foreign mount alone" 1 'left alone' "${downs[@]}" /proc

# The session of the first promise: as on a disk.
holds "mkdir" mkdir "$point/app"
holds "echo into a new file" bash -c "echo 8080 > '$point/app/port'"
expect "cat" 0 '^8080$' cat "$point/app/port"
expect "ls -la" 0 ' port$' ls -la "$point/app"
expect "getfattr" 0 '^user.zk.version="1"$' getfattr -n user.zk.version "$point/app/port"
holds "cp -a out of the mount" cp -a "$point/app" "$work/b"
holds "cp -a into the mount" cp -a "$work/b" "$point/app2"
holds "diff -r finds them equal" diff -r "$point/app" "$point/app2"
holds "rm -r" rm -r "$point/app2"
fails "and it is gone" test -e "$point/app2"
holds "a directory" mkdir "$point/empty"
holds "rmdir" rmdir "$point/empty"
fails "rmdir of what is not empty" rmdir "$point/app"

# What a reader sees when the replica has been killed: its pid file is stale, its data are there.
kill -KILL "$(pid_now)"
expect "zkfs-up starts a killed replica again" 0 'pid file of an earlier run is stale' "${ups[@]}" "$point"
fails "with another pid" test "$before" = "$(pid_now)"
expect "the mount went on, with its data" 0 '^8080$' timeout 20 cat "$point/app/port"
# A zkfs that was killed leaves a mount that nobody serves.
kill -KILL "$(running zkfs "$point")"
expect "zkfs-up takes away a dead mount and mounts again" 0 'taking away' "${ups[@]}" "$point"
expect "with its data" 0 '^8080$' timeout 20 cat "$point/app/port"
# A pid file whose number belongs to something else now.
replica=$(pid_now)
echo $$ >"$dir/replica-1.pid"
expect "a pid file with a foreign pid is not believed" 1 'is in use' "${ups[@]}" "$point"
echo "$replica" >"$dir/replica-1.pid"

expect "a second mount of the same replica" 0 "zk2 is mounted \(pid" "${ups[@]}" "$work/zk2"
expect "both show the same" 0 '^8080$' cat "$work/zk2/app/port"
ln -s "$point" "$work/link"
expect "zkfs-up through a symbolic link finds the mount" 0 "$point is mounted already" "${ups[@]}" "$work/link"
mkdir "$work/helper mount"
helper() { PATH=$src/build/fs:$PATH "$src/mount-helpers/mount.zkfs" "$@"; }
expect "mount.zkfs takes out what is meant for mount(8)" 0 '' helper "127.0.0.1:$port/app" "$work/helper mount" \
    -n -o rw,_netdev,nofail,x-systemd.automount,timeo=5
expect "and mounts a subtree" 0 '^8080$' cat "$work/helper mount/port"
fails "zkfs-down does not touch a mount that zkfs-up did not make" "${downs[@]}" "$work/helper mount"
holds "umount ends it" umount "$work/helper mount"
expect "mount.zkfs hands a wrong option on" 2 'unknown option' helper "127.0.0.1:$port" "$work/helper mount" -o frob
expect "zkfs-down of one leaves the replica to the other" 0 'the replicas go on' "${downs[@]}" "$work/zk2"
expect "which goes on" 0 '^8080$' cat "$point/app/port"

expect "zkfs-down ends it all" 0 'replica 1 has ended' "${downs[@]}" "$point"
holds "no mount is left" not_mounted "$point"
holds "no process is left" nothing_runs "$work"
fails "no pid file is left" bash -c "compgen -G '$dir/*.pid'"
expect "zkfs-down a second time does nothing" 0 'is not mounted' "${downs[@]}" "$point"
expect "after zkfs-up the data are there" 0 'is mounted \(pid' "${ups[@]}" "$point"
expect "all of them" 0 '^8080$' cat "$point/app/port"

# A program that stands in the mount: lazily, and said.
(cd "$point/app" && exec sleep 60) &
sitter=$!
expect "a busy mount is unmounted lazily, and that is said" 0 'lazily' "${downs[@]}" --purge "$point"
kill "$sitter"
wait "$sitter" 2>/dev/null
holds "no mount is left behind it" not_mounted "$point"
holds "no process is left behind it" nothing_runs "$work"
fails "--purge removes the data" test -e "$dir"
