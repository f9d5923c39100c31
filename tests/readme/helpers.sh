# zkfs-up and zkfs-down: what they promise. Sourced; replicas and mounts of this test's own.
# shellcheck shell=bash disable=SC2154 # src, up, down, work, point, dir and port are the caller's
ups=("$up" --dir "$dir" --port "$port")
downs=("$down" --dir "$dir")
pid_now() { cat "$dir/replica-${1-1}.pid" 2>/dev/null; }
# mode_of PORT: what that replica says it is.
# shellcheck disable=SC2016 # expanded by the inner shell
mode_of() { timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/$1; printf srvr >&3; grep Mode <&3' bash "$1" 2>/dev/null; }
# modes N: the modes of the first N, sorted.
modes() { local i; for ((i = 0; i < $1; i++)); do mode_of $((port + i)); done | sort | tr '\n' ' '; }
leader() { local i; for i in 1 2 3; do [[ $(mode_of $((port + i - 1))) != *leader ]] || echo "$i"; done; }

# Wrong usage comes before anything is built or started.
expect "zkfs-up without a mount point says how it is used" 2 'usage: zkfs-up' "$up"
expect "zkfs-up --help says how it is used" 0 'usage: zkfs-up' "$up" --help
expect "zkfs-down --help says how it is used" 0 'usage: zkfs-down' "$down" --help
expect "too many replicas are refused" 2 'from 1 to 7' "${ups[@]}" --replicas 8 "$point"
expect "a bad number of replicas is refused" 2 'replicas x' "${ups[@]}" --replicas x "$point"
expect "a bad port is refused" 2 'port 70000' "$up" --port 70000 "$point"
expect "an unknown option is refused" 2 'unknown option --frob' "$up" --frob "$point"
expect "a second mount point is refused" 2 'more than one' "$up" a b
expect "zkfs-down where nothing is does nothing" 0 'nothing to end' "${downs[@]}" "$point"

expect "zkfs-up mounts" 0 "$point is mounted \(pid" "${ups[@]}" "$point"
holds "the mount point is one" mounted "$point"
for i in 1 2 3; do
    for file in replica-$i.pid replica-$i.log replica-$i/zoo.cfg replica-$i/data/myid; do
        holds "$file is there" test -e "$dir/$file"
    done
done
expect "there are three replicas, and one leads" 0 '^Mode: follower Mode: follower Mode: leader $' modes 3
expect "the mount knows all three" 0 "127.0.0.1:$port,127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2))" \
    bash -c "tr '\\0' ' ' </proc/$(mount_pid "$point")/cmdline"
holds "the replica serves on the port that was asked for" grep -qx "clientPort=$port" "$dir/replica-1/zoo.cfg"
before=$(pid_now)
expect "zkfs-up a second time starts nothing" 0 "is mounted already" "${ups[@]}" "$point"
expect "and says who leads" 0 "replica $(leader) leads" "${ups[@]}" "$point"
expect "another number of replicas is refused" 1 'has 3 replicas, not 5' "${ups[@]}" --replicas 5 "$point"
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
expect "the mount goes on without one of three" 0 '^8080$' timeout 20 cat "$point/app/port"
holds "and takes writes" timeout 20 bash -c "echo on > '$point/app/goes'"
expect "zkfs-up starts a killed replica again" 0 'pid file of an earlier run is stale' "${ups[@]}" "$point"
fails "with another pid" test "$before" = "$(pid_now)"
kill -KILL "$(pid_now "$(leader)")"
holds "the leader, too, may be killed" timeout 20 bash -c "echo without > '$point/app/goes'"
expect "and comes back" 0 'leads' "${ups[@]}" "$point"
expect "all three serve again" 0 '^Mode: follower Mode: follower Mode: leader $' modes 3
holds "a replica's folder is lost" bash -c "kill -KILL $(pid_now 2); rm -rf '$dir/replica-2'"
expect "zkfs-up makes it anew" 0 'replica 2 started' "${ups[@]}" "$point"
expect "it takes its data from the others" 0 '^Mode: follower$' mode_of $((port + 1))
expect "the mount went on, with its data" 0 '^8080$' timeout 20 cat "$point/app/port"
zkfs=$(mount_pid "$point")
kill -KILL "$(worker_pid "$zkfs")"
expect "the mount goes on without the process that serves it" 0 '^8080$' timeout 20 cat "$point/app/port"
expect "and zkfs-up finds it mounted" 0 "is mounted already \(pid $zkfs\)" "${ups[@]}" "$point"
# Both killed at once leave a mount that nobody serves.
kill -STOP "$zkfs"
worker=$(worker_pid "$zkfs")
kill -KILL "$worker"
until has_ended "$worker"; do sleep 0.01; done
kill -KILL "$zkfs"
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

# Two of three lost everything: nobody guesses.
holds "zkfs-down" "${downs[@]}" "$point"
holds "two of three are lost" rm -rf "$dir/replica-1/data" "$dir/replica-3"
expect "a majority without data is refused" 1 'replicas 1 3 of 3 have no data, but replica 2 has' "${ups[@]}" "$point"
holds "a copy of the data helps" cp -a "$dir/replica-2/data/log" "$dir/replica-1/data/log"
expect "then all start" 0 'leads' "${ups[@]}" "$point"
expect "with the data" 0 '^8080$' timeout 20 cat "$point/app/port"

# One replica becomes three.
holds "zkfs-down --purge" "${downs[@]}" --purge "$point"
expect "a replica alone" 0 'is mounted \(pid' "${ups[@]}" --replicas 1 "$point"
expect "is no ensemble" 0 '^Mode: standalone $' modes 1
holds "and takes data" bash -c "mkdir '$point/app' && echo 8080 > '$point/app/port'"
expect "again with --replicas 1 it stays alone" 0 'is mounted already' "${ups[@]}" --replicas 1 "$point"
expect "zkfs-up without --replicas makes it three" 0 'becomes the first of 3' "${ups[@]}" "$point"
expect "who are an ensemble" 0 '^Mode: follower Mode: follower Mode: leader $' modes 3
expect "the mount went on" 0 '^8080$' timeout 20 cat "$point/app/port"
holds "it is mounted with all of them now" bash -c "${downs[*]} '$point' && ${ups[*]} '$point'"
kill -KILL "$(pid_now)"
expect "the data are in the others" 0 '^8080$' timeout 20 cat "$point/app/port"
holds "zkfs-up" "${ups[@]}" "$point"

# A program that stands in the mount: lazily, and said.
(cd "$point/app" && exec sleep 60) &
sitter=$!
expect "a busy mount is unmounted lazily, and that is said" 0 'lazily' "${downs[@]}" --purge "$point"
kill "$sitter"
wait "$sitter" 2>/dev/null
holds "no mount is left behind it" not_mounted "$point"
holds "no process is left behind it" nothing_runs "$work"
fails "--purge removes the data" test -e "$dir"
