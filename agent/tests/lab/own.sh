# A job at its memory limit that writes: $1 the job's cgroup, $2 what it takes in MiB, $3 for how
# many seconds, $4 its scratch.
set -e
cat > /tmp/hog <<'END'
my $mib = shift;
my $x = "x" x ($mib << 20);
open(my $f, '>', '/tmp/hogged');
while (1) {
    for (my $o = 0; $o < $mib << 20; $o += 4096) { substr($x, $o, 1) = "y"; }
    select(undef, undef, undef, 0.05);
}
END
rm -f /tmp/hogged /tmp/bulk.json /tmp/small.json
job() { exec sh -c 'echo $$ > $0/cgroup.procs; exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"' "$cgroup" "$@"; }
cgroup=$1
chmod 1777 /tmp
(job perl /tmp/hog "$2") & hog=$!
until test -e /tmp/hogged; do kill -0 $hog; sleep 0.1; done
always="--time_based --runtime=$3 --ioengine=psync --thread --fallocate=none --rw=write --output-format=json"
# As fast as it can, through the page cache.
(job fio --name=bulk --filename="$4/bulk.$(hostname)" --bs=1M --size=96M $always --output=/tmp/bulk.json) & bulk=$!
# A little, and waiting until it is stored.
(job fio --name=small --filename="$4/small.$(hostname)" --bs=4k --size=2M --fsync=1 $always --output=/tmp/small.json) & small=$!
wait $bulk
wait $small
kill -0 $hog
kill -9 $hog
wait $hog || true
