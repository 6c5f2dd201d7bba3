//! A writer on a mount that reads back and compares everything it wrote, and how long its
//! longest request took.

use std::time::Duration;

use rampool_lab::{Node, RemoteProcess};

/// One round of fio after another, each writing a file at random and verifying it, until the
/// file `stop` is there; each leaves its report. They are slow enough to leave the cores to who
/// mends a fault or copies a disk.
const ROUNDS: &str = "n=0; \
    until test -e /tmp/load/stop; do \
        n=$((n+1)); \
        fio --name=load --filename=$0/load --size=4M --rw=randwrite --bs=16k --direct=1 \
            --rate_iops=200 --ioengine=libaio --iodepth=8 --verify=crc32c --verify_fatal=1 --do_verify=1 \
            --randseed=$n --output-format=json --output=/tmp/load/writing || { touch /tmp/load/failed; exit 1; }; \
        mv /tmp/load/writing /tmp/load/$n.json; \
    done";

/// A round takes some seconds, one that is held for a donor's silence longer.
const ROUND: Duration = Duration::from_secs(180);

/// fio at work.
pub(crate) struct Load<'a> {
    node: &'a Node,
    fio: RemoteProcess,
}

impl<'a> Load<'a> {
    /// Begins on the mount `point`.
    pub(crate) fn start(node: &'a Node, point: &str) -> Self {
        node.sh("rm -rf /tmp/load; mkdir /tmp/load").unwrap();
        let fio = node.command(["sh", "-c", ROUNDS, point]).no_timeout().spawn().unwrap();
        let load = Self { node, fio };
        load.let_it_write();
        load
    }

    /// Returns when another round has ended well and the next is under way.
    pub(crate) fn let_it_write(&self) {
        let script = "cd /tmp/load; n=1; while test -e $n.json; do n=$((n+1)); done; \
            until test -e $n.json; do test ! -e failed || { cat writing >&2; exit 1; }; \
            sleep 0.1; done";
        let wait = self.node.command(["sh", "-c", script]).timeout(ROUND);
        wait.output().unwrap().ok().unwrap();
    }

    /// Ends after the round under way: no request may have failed, no byte be wrong. Tells how
    /// long the longest request took.
    pub(crate) fn end(mut self) -> Duration {
        self.node.sh("touch /tmp/load/stop").unwrap();
        let status = self.fio.wait().unwrap();
        let said = || self.node.sh("cat /tmp/load/writing || true").unwrap();
        assert!(status.success(), "fio: {status:?}\n{}", said());
        let longest = self.node.sh("grep -h -A2 '\"lat_ns\"' /tmp/load/*.json | grep max").unwrap();
        let nanoseconds = longest.lines().map(|line| {
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanoseconds.max().unwrap())
    }
}
