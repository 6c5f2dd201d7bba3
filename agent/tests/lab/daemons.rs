//! The programs beside the data path die and come back, and nodes get other names: no I/O fails.

use rampool_proto::v1::{FilesystemKind, VolumeLayout};

use crate::cluster::MIB;
use crate::trio::{PIECE, Trio};

/// Writes with a pattern of its own and reads it back, until told to stop; then says `well`.
const VERIFY: &str = "i=0; while ! test -e /tmp/enough; do i=$((i+1)); \
    yes $i | head -c 1048576 > /tmp/pattern; \
    dd if=/tmp/pattern of=/rampool/demo/v bs=64k oflag=direct conv=notrunc status=none || exit 1; \
    dd if=/rampool/demo/v bs=64k iflag=direct status=none | cmp - /tmp/pattern || exit 1; \
    echo $i > /tmp/rounds; done; echo well";

pub(crate) fn iscsid_dies_and_comes_back_under_load(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let node = &trio.head.node;
    let user = node.command(["sh", "-c", VERIFY]).spawn().unwrap();
    let more = "r=$(cat /tmp/rounds 2>/dev/null || echo 0); \
                until test $(cat /tmp/rounds 2>/dev/null || echo 0) -gt $((r+2)); do sleep 0.05; done";
    node.sh(more).unwrap();
    for _ in 0..2 {
        node.sh("kill -9 $(pidof iscsid); while pidof iscsid; do sleep 0.02; done").unwrap();
        // The kernel's part goes on alone, and with its daemon again.
        node.sh(more).unwrap();
        trio.cluster.start("n1");
        node.sh(more).unwrap();
    }
    node.sh("touch /tmp/enough").unwrap();
    let output = user.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "well", "{}", output.stderr_text());
    node.sh("rm /tmp/enough /tmp/pattern /tmp/rounds").unwrap();
    trio.down();
}

/// `PF_MEMALLOC_NOIO` of include/linux/sched.h: allocations wait for no I/O.
const NO_IO: u64 = 0x0008_0000;

pub(crate) fn the_agent_is_spared_when_memory_is_short(trio: &Trio<'_>) {
    let read = |file: &str| {
        trio.head.node.sh(&format!("cat /proc/$(pidof rampool-agent)/{file}")).unwrap()
    };
    assert_eq!(read("oom_score_adj"), "-900");
    let status = read("status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    assert!(!locked.trim().starts_with("0 "), "{locked}");
    // After the program's name in brackets, flags are the seventh field (proc_pid_stat(5)).
    let stat = read("stat");
    let fields = stat.rsplit_once(") ").unwrap().1;
    let flags: u64 = fields.split(' ').nth(6).unwrap().parse().unwrap();
    assert_ne!(flags & NO_IO, 0, "{stat}");
}

pub(crate) fn a_renamed_donors_exports_are_listed_and_can_be_destroyed(trio: &Trio<'_>) {
    let node = &trio.donors[0].node;
    node.sh("cp /etc/rampool/agent.yaml /tmp/kept; echo 'node: other' >> /etc/rampool/agent.yaml")
        .unwrap();
    trio.cluster.kill_agent("n2");
    let donor = trio.cluster.start_agent("n2");
    assert_eq!(donor.inventory().unwrap().node, "other");
    let holdings = donor.holdings();
    assert!(holdings.iter().any(|h| h.ends_with(":demo.1.n2")), "{holdings:?}");
    assert_eq!(donor.destroy().unwrap().freed_bytes, PIECE * MIB);
    assert!(donor.holdings().is_empty());
    node.sh("mv /tmp/kept /etc/rampool/agent.yaml").unwrap();
    trio.cluster.kill_agent("n2");
    trio.cluster.start_agent("n2");
}
