//! Nodes that are shut down in order, under systemd, while a pool is in use.

use std::time::{Duration, Instant};

use rampool_lab::{Init, Node, Power};
use rampool_proto::v1::{FilesystemKind, HoldingKind, VolumeLayout};

use crate::cases::cases;
use crate::cluster::Cluster;
use crate::trio::{POINT, Trio, each_with_fresh_exports};

/// What the sites' own network services do: the network is gone long before the kernel is.
const NETWORK: &str = "[Unit]\nWants=network.target\nBefore=network.target\n[Service]\nType=oneshot\n\
    RemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/usr/sbin/ip link set vec0 down\n";

/// The journal is gone with its node; the console's log is not.
const TOLD: &str = "[Service]\nStandardError=journal+console\n";
const TOLD_PATH: &str = "/etc/systemd/system/rampool-shutdown.service.d/console.conf";

/// As long as an orderly reboot may take.
const PROMISE: Duration = Duration::from_secs(90);

#[test]
fn an_orderly_shutdown_hangs_on_no_session_and_no_mount() {
    let cluster = Cluster::boot_with("agent-shutdown", 3, 1024, Init::Systemd);
    for node in cluster.lab.nodes() {
        node.persist_file("/etc/systemd/system/site-network.service", 0o644, NETWORK).unwrap();
        node.persist_file(TOLD_PATH, 0o644, TOLD).unwrap();
        node.on_boot("systemctl start site-network").unwrap();
        node.sh("systemctl daemon-reload; systemctl start site-network").unwrap();
    }
    each_with_fresh_exports(
        &cluster,
        cases![
            a_head_lets_its_pools_go_and_the_donors_keep_them,
            a_donor_goes_down_under_a_pool_and_takes_nobody_with_it,
        ],
    );
}

/// Somebody writes and holds a file open for as long as there is a pool.
fn use_the_pool(node: &Node) {
    let script = "exec 9> /rampool/demo/held; cd /rampool/demo; \
                  while dd if=/dev/zero of=w bs=64k count=64 conv=notrunc,fsync; do :; done";
    node.daemon("user", ["sh", "-c", script]).unwrap();
    node.sh("until test -s /rampool/demo/w; do sleep 0.05; done").unwrap();
}

fn shut_down(node: &Node) {
    let began = Instant::now();
    node.sh("systemctl --no-block reboot").unwrap();
    while node.status().unwrap().power != Power::Ended {
        assert!(began.elapsed() < PROMISE, "{} hangs", node.name());
        std::thread::sleep(Duration::from_millis(200));
    }
    eprintln!("{} went down in {:.1} s", node.name(), began.elapsed().as_secs_f64());
    for line in node.console_log().unwrap().lines().filter(|line| line.contains("assembly=")) {
        eprintln!("  {line}");
    }
}

fn start_again(trio: &Trio<'_>, name: &str) -> crate::cluster::Agent {
    trio.cluster.lab.node(name).unwrap().boot().unwrap();
    trio.cluster.start(name)
}

fn a_head_lets_its_pools_go_and_the_donors_keep_them(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let node = &trio.head.node;
    node.sh("echo precious > /rampool/demo/f").unwrap();
    use_the_pool(node);
    // Neither unit lets anything go while the system stays up.
    node.sh("systemctl restart rampool-shutdown rampool-agent; findmnt /rampool/demo").unwrap();
    shut_down(node);
    for donor in &trio.donors {
        let holdings = donor.inventory().unwrap().holdings;
        let export = holdings.iter().find(|h| h.kind() == HoldingKind::Export).unwrap();
        assert_eq!(export.detail, "enabled, no session");
    }
    let head = start_again(trio, "n1");
    head.attach_to(&trio.exports).unwrap();
    head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    // What was not even synced is there: it was unmounted, not cut off.
    assert_eq!(head.node.sh("cat /rampool/demo/f").unwrap(), "precious");
    assert!(!head.node.sh("dmesg").unwrap().contains("Starting recovery"), "the log was dirty");
    trio.down();
}

fn a_donor_goes_down_under_a_pool_and_takes_nobody_with_it(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    use_the_pool(&trio.head.node);
    shut_down(&trio.donors[1].node);
    trio.head.unmount_demo(true).unwrap();
    trio.head.stop().unwrap();
    trio.head.detach_demo().unwrap();
    start_again(trio, "n3");
}
