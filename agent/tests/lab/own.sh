# A job at its limit that writes: $1 its memory limit in MiB, $2 seconds, $3 its scratch.
set -e
cd /sys/fs/cgroup
echo +memory > cgroup.subtree_control
mkdir -p job
echo "${1}M" > job/memory.max
cat /proc/meminfo | head -3 | tr '\n' ' '
cat > /tmp/hog <<'P'
my $mib = shift; my $x = "x" x ($mib << 20);
open(my $f, '>', '/tmp/hogged'); close $f;
while (1) { for (my $o = 0; $o < $mib << 20; $o += 4096) { substr($x, $o, 1) = "y"; } select(undef, undef, undef, 0.05); }
P
rm -f /tmp/hogged
user="setpriv --reuid 1000 --regid 1000 --clear-groups"
bulk="--rw=write --bs=1M --size=96M --fallocate=none --invalidate=0"
small="--rw=write --bs=4k --size=2M --fsync=1 --fallocate=none"
base="--time_based --runtime=$2 --output-format=json --ioengine=psync --thread"
job() { sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; exec "$@"' job "$@"; }
job perl /tmp/hog $(($1 - 72)) & hog=$!
until test -e /tmp/hogged; do sleep 0.1; done
job $user fio --name=bulk --filename=$3/bulk.$(hostname) $bulk $base --output=/tmp/bulk.json & one=$!
job $user fio --name=small --filename=$3/small.$(hostname) $small $base --output=/tmp/small.json & two=$!
( least=99999999; while test -e /tmp/hogged; do read _ free _ <<M
$(grep MemFree /proc/meminfo)
M
if [ "$free" -lt "$least" ]; then least=$free; echo $least > /tmp/least; fi; sleep 0.3; done ) &
wait $one || echo "bulk failed"; wait $two || echo "small failed"
kill -0 $hog && echo "hog lives"; kill -9 $(cat /sys/fs/cgroup/job/cgroup.procs) || true; rm /tmp/hogged
echo "least free $(cat /tmp/least) kB; $(grep -E '^oom|^max' job/memory.events | tr '\n' ' ')"
for f in bulk small; do echo $f $(grep -E '"(bw|io_kbytes)" :' /tmp/$f.json | sort -u | tr -d '\n'); done
grep -A6 -E '"(lat_ns)"' /tmp/small.json | grep -E 'max|mean|N"' | tr -d '\n'
wait
rmdir job
