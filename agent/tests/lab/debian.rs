//! The same on nodes as sites have them: systemd, udev, mdadm's and LVM's rules, multipathd, all
//! as Debian configures them. Nobody else may take what is the pool's.

use rampool_lab::Init;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, FilesystemKind, Redundancy, VolumeLayout};

use crate::cases::{cases, in_turn};
use crate::cluster::{Cluster, assert_as_before, demo, export_request, traces};
use crate::trio::POINT;

#[test]
fn a_pool_is_left_alone_by_debians_services_and_survives_the_agents_own() {
    // A node that lends to itself by iSCSI is both: services take long to start.
    let cluster = Cluster::boot_with("agent-debian", 1, 1280, Init::Systemd);
    let cases = cases![
        the_unit_is_caged_as_it_says,
        lent_memory_is_not_charged_to_the_unit,
        a_users_work_goes_on_through_restart_upgrade_and_kill_9_of_the_agent,
        nobody_else_touches_a_pools_disks_under_systemd_and_udev,
    ];
    in_turn(cases, |case| case(&cluster));
}

#[test]
fn disks_are_replaced_under_debians_services() {
    let cluster = Cluster::boot_with("agent-debian-replace", 3, 896, Init::Systemd);
    let (head, donors) = (cluster.agent("n1"), [cluster.agent("n2"), cluster.agent("n3")]);
    let node = &head.node;
    for (layout, redundancy) in
        [(VolumeLayout::Md, Redundancy::Mirror), (VolumeLayout::Lvm, Redundancy::None)]
    {
        let own = v1::CreateExportRequest {
            way: Some(Way::Local(v1::LocalWay {})),
            ..export_request(Backend::RdMcp, 320)
        };
        let mut exports = vec![head.create_export(own).unwrap()];
        exports.extend(donors.iter().map(|donor| donor.export(Backend::RdMcp, 320).unwrap()));
        head.attach_to(&exports).unwrap();
        let serials: Vec<_> = exports.iter().map(|export| export.serial.clone()).collect();
        let volume = v1::AssembleVolumeRequest {
            pool: demo(),
            layout: layout.into(),
            redundancy: redundancy.into(),
            chunk_kib: 64,
            serials: serials[..2].to_vec(),
            ..Default::default()
        };
        head.assemble_volume(volume).unwrap();
        head.mkfs(FilesystemKind::Xfs, 1).unwrap();
        head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
        node.sh("dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1; \
                 md5sum /rampool/demo/f > /tmp/sum")
            .unwrap();
        let replacement = v1::ReplaceMemberRequest {
            pool: demo(),
            old_serial: serials[1].clone(),
            new_serial: serials[2].clone(),
        };
        head.replace_member(replacement).unwrap();
        node.sh("udevadm trigger --subsystem-match=block --settle").unwrap();
        node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
        head.detach_donor("n2").unwrap();
        head.unmount_demo(false).unwrap();
        head.stop().unwrap();
        node.sh("udevadm trigger --subsystem-match=block --settle").unwrap();
        node.sh("while systemctl list-jobs --no-legend | grep -q .; do sleep 0.05; done").unwrap();
        node.sh("! ls -d /sys/block/md* /sys/block/dm-* 2>/dev/null").unwrap();
        head.detach_demo().unwrap();
        for agent in donors.iter().chain([&head]) {
            agent.destroy().unwrap();
        }
        node.sh("udevadm settle").unwrap();
    }
    cluster.assert_as_at_boot();
}

fn nobody_else_touches_a_pools_disks_under_systemd_and_udev(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let node = &agent.node;
    node.sh("systemctl start multipathd; systemctl is-active multipathd").unwrap();
    let before = traces(node);
    for layout in [VolumeLayout::Md, VolumeLayout::Lvm] {
        let exports = [agent.export(Backend::RdMcp, 400).unwrap()];
        let attached = agent.attach_to(&exports).unwrap();
        agent.assemble(layout, &exports).unwrap();
        agent.mkfs(FilesystemKind::Xfs, 1).unwrap();
        agent.mount_at(FilesystemKind::Xfs, POINT).unwrap();
        node.sh("echo data > /rampool/demo/f; sync; udevadm settle").unwrap();
        // Whatever udev does when it looks at everything again.
        node.sh("udevadm trigger --subsystem-match=block --settle; multipath -r; udevadm settle")
            .unwrap();
        assert_eq!(node.sh("multipath -ll").unwrap(), "", "{layout:?}");
        assert_eq!(node.sh("cat /rampool/demo/f").unwrap(), "data", "{layout:?}");
        // Nothing that looks for file systems or arrays is offered a member.
        let links = "find /dev/disk -type l | xargs -r readlink -f | grep /dev/sd || true";
        assert_eq!(node.sh(links).unwrap(), "", "{layout:?}");
        let member = attached.disks[0].device.as_str();
        let seen = node.sh(&format!("udevadm info -q property {member}")).unwrap();
        assert!(!seen.contains("ID_FS_TYPE") && seen.contains("SYSTEMD_READY=0"), "{seen}");

        agent.unmount_demo(false).unwrap();
        // A stopped volume stays stopped, though its disks are there and udev looks at them.
        agent.stop().unwrap();
        node.sh("udevadm trigger --subsystem-match=block --settle").unwrap();
        // What udev told systemd to start has had its turn too.
        node.sh("while systemctl list-jobs --no-legend | grep -q .; do sleep 0.05; done").unwrap();
        node.sh("! ls -d /sys/block/md* /sys/block/dm-* 2>/dev/null").unwrap();
        agent.detach_demo().unwrap();
        agent.destroy().unwrap();
        node.sh("udevadm settle").unwrap();
        assert_as_before(node, &before);
    }
}

/// The value of a line of /proc/PID/status.
fn status<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim()
}

fn the_unit_is_caged_as_it_says(cluster: &Cluster) {
    let node = cluster.agent("n1").node;
    let text = node.sh("cat /proc/$(pidof rampool-agent)/status").unwrap();
    assert_eq!(status(&text, "NoNewPrivs"), "1");
    // Filters of system calls are in force, one for each Restrict... and SystemCallFilter.
    assert_eq!(status(&text, "Seccomp"), "2");
    let bound = u64::from_str_radix(status(&text, "CapBnd"), 16).unwrap();
    // linux/capability.h: what nobody who is the agent shall ever do again.
    for (name, bit) in
        [("SYS_TIME", 25), ("SYS_BOOT", 22), ("SETUID", 7), ("SETPCAP", 8), ("MAC_ADMIN", 33)]
    {
        assert_eq!(bound >> bit & 1, 0, "CAP_{name} of {bound:x}");
    }
    assert_eq!(bound >> 21 & 1, 1, "without CAP_SYS_ADMIN nothing is mounted: {bound:x}");
    let limits = node.sh("grep 'core file' /proc/$(pidof rampool-agent)/limits").unwrap();
    assert!(limits.split_whitespace().filter(|word| *word == "0").count() == 2, "{limits}");
    let refused = "! gdb --version >/dev/null 2>&1; \
        test $(stat -c %u /proc/$(pidof rampool-agent)/environ) = 0; \
        ! setpriv --reuid 1000 --clear-groups cat /proc/$(pidof rampool-agent)/maps 2>/dev/null";
    node.sh(refused).unwrap();
    // Its mounts are the node's: an option that gives it a namespace of its own would hide them.
    for namespace in ["mnt", "net", "pid", "user"] {
        node.sh(&format!(
            "test $(readlink /proc/$(pidof rampool-agent)/ns/{namespace}) = \
                  $(readlink /proc/1/ns/{namespace})"
        ))
        .unwrap();
    }
    eprintln!(
        "{}",
        node.sh("systemd-analyze security rampool-agent.service --no-pager | tail -1").unwrap()
    );
}

/// What the unit may have, in bytes: less than each export.
const UNIT_MAX: u64 = 256 << 20;

fn lent_memory_is_not_charged_to_the_unit(cluster: &Cluster) {
    let node = cluster.agent("n1").node;
    node.sh(&format!(
        "mkdir -p /run/systemd/system/rampool-agent.service.d; \
         printf '[Service]\\nMemoryMax={UNIT_MAX}\\nMemorySwapMax=0\\n' \
             >/run/systemd/system/rampool-agent.service.d/max.conf; \
         systemctl daemon-reload; systemctl restart rampool-agent"
    ))
    .unwrap();
    let agent = cluster.start("n1");
    let read = |file: &str| -> String {
        let group = "/sys/fs/cgroup/system.slice/rampool-agent.service";
        node.sh(&format!("cat {group}/{file}")).unwrap()
    };
    assert_eq!(read("memory.max"), UNIT_MAX.to_string());
    for backend in [Backend::Tmpfs, Backend::RdMcp, Backend::Brd] {
        let before: u64 = read("memory.current").parse().unwrap();
        let bytes = agent.export(backend, 400).unwrap().bytes;
        let after: u64 = read("memory.current").parse().unwrap();
        eprintln!("{backend:?}: the unit has {} MiB, had {} MiB", after >> 20, before >> 20);
        assert!(bytes > UNIT_MAX && after.saturating_sub(before) < bytes / 8, "{backend:?}");
        agent.destroy().unwrap();
    }
    let events = read("memory.events");
    assert!(events.contains("oom_kill 0"), "{events}");
    node.sh("rm -r /run/systemd/system/rampool-agent.service.d; systemctl daemon-reload; \
             systemctl restart rampool-agent")
        .unwrap();
    cluster.start("n1");
}

/// Programs of the names that a head runs, where a search along its `PATH` would find them first.
const PLANTED: &str = "mkdir -p /tmp/planted /run/systemd/system/rampool-agent.service.d; \
    for p in modprobe iscsiadm mdadm lvm dmsetup mkfs.xfs systemctl udevadm sh; do \
        printf '#!/bin/sh\\necho $0 >>/tmp/planted/ran\\n' >/tmp/planted/$p; \
        chmod 755 /tmp/planted/$p; \
    done; \
    printf '[Service]\\nEnvironment=PATH=/tmp/planted LD_PRELOAD=/tmp/planted/none.so\\n' \
        >/run/systemd/system/rampool-agent.service.d/planted.conf; \
    systemctl daemon-reload; systemctl restart rampool-agent";

/// What follows, in a session of an ordinary user: `alice` of the lab, 1001.
const SESSION: &str = "systemd-run --quiet --wait --pipe --collect --uid=alice \
    --property=PAMName=login /bin/sh -c '";

/// A user's work until the file `enough` is there: writes blocks of a pattern, each to the disks, and
/// counts them in `wrote`; then reads all of them from the disks and compares. Says `well`.
const WORK: &str = r#"
    use IO::Handle;
    open(my $file, "+>", "/rampool/demo/work") or die "open: $!";
    open(my $count, ">", "/tmp/wrote") or die "count: $!";
    my ($n, @last) = (0);
    until (-e "/tmp/enough") {
        my $at = $n % 64;
        $last[$at] = $n++;
        sysseek($file, $at << 16, 0);
        syswrite($file, pack("N", $n - 1) x 16384) == 65536 or die "write: $!";
        $file->sync or die "sync: $!";
        syswrite($count, ".");
        select(undef, undef, undef, 0.05);
    }
    for my $at (0 .. $#last) {
        sysseek($file, $at << 16, 0);
        sysread($file, my $block, 65536) == 65536 or die "read: $!";
        $block eq pack("N", $last[$at]) x 16384 or die "block $at is another";
    }
    print "well";
"#;

/// Waits until the user's work has gone on.
const GOES_ON: &str = "size() { stat -c %s /tmp/wrote; }; n=$(size); \
    until test $(size) -gt $((n+3)); do pidof perl >/dev/null || exit 1; sleep 0.05; done";

/// Another program file is put in the place of the one that runs.
const UPGRADE: &str = "old=$(readlink -f /proc/$(pidof rampool-agent)/exe); \
    cp /usr/sbin/rampool-agent /usr/sbin/rampool-agent.new; \
    mv -f /usr/sbin/rampool-agent.new /usr/sbin/rampool-agent; \
    systemctl restart rampool-agent; \
    until test \"$(readlink -f /proc/$(pidof rampool-agent)/exe)\" = /usr/sbin/rampool-agent; do \
        sleep 0.05; done; test $old != /usr/sbin/rampool-agent";

const KILL: &str = "pid() { systemctl show --property MainPID --value rampool-agent; }; old=$(pid); \
    systemctl kill --signal=KILL rampool-agent; \
    until test $(pid) != 0 && test $(pid) != $old; do sleep 0.05; done; \
    systemctl is-active rampool-agent";

fn a_users_work_goes_on_through_restart_upgrade_and_kill_9_of_the_agent(cluster: &Cluster) {
    let node = &cluster.agent("n1").node;
    node.sh(PLANTED).unwrap();
    let agent = cluster.start("n1");
    let exports = [agent.export(Backend::Tmpfs, 400).unwrap()];
    agent.attach_to(&exports).unwrap();
    agent.assemble(VolumeLayout::Md, &exports).unwrap();
    agent.mkfs(FilesystemKind::Xfs, 1).unwrap();
    let mine = || {
        let request = v1::MountRequest {
            pool: demo(),
            filesystem: FilesystemKind::Xfs.into(),
            mount_point: POINT.to_owned(),
            readme: "This is memory.\n".to_owned(),
            uid: 1001,
            gid: 1001,
            ..Default::default()
        };
        agent.mount(request).unwrap()
    };
    assert!(!mine().already);
    // Slurm's and a site's own programs are for nobody else: none was ever looked for.
    node.sh("! cat /tmp/planted/ran 2>/dev/null").unwrap();
    let environment = node.sh("tr '\\0' '\\n' </proc/$(pidof rampool-agent)/environ").unwrap();
    assert!(environment.contains("PATH=/tmp/planted"), "{environment}");
    node.sh("rm -r /tmp/planted /run/systemd/system/rampool-agent.service.d; \
             systemctl daemon-reload")
        .unwrap();

    let session = |script: &str| node.sh(&format!("{SESSION}{script}'")).unwrap();
    assert_eq!(session("echo mine >/rampool/demo/f && cat /rampool/demo/f && id -u"), "mine\n1001");
    let alice = ["setpriv", "--reuid", "1001", "--regid", "1001", "--clear-groups"];
    let work = node.command(alice.into_iter().chain(["perl", "-e", WORK])).no_timeout();
    let work = work.spawn().unwrap();
    node.sh("until test -s /tmp/wrote; do sleep 0.05; done").unwrap();
    // As Debian's own kernel is: the log is for those alone who may read it.
    for event in
        ["echo 1 >/proc/sys/kernel/dmesg_restrict; systemctl restart rampool-agent", UPGRADE, KILL]
    {
        node.sh(event).unwrap();
        cluster.start("n1");
        node.sh(GOES_ON).unwrap();
    }
    assert_eq!(session("cat /rampool/demo/f"), "mine");
    node.sh("echo 3 >/proc/sys/vm/drop_caches; touch /tmp/enough").unwrap();
    let work = work.output().unwrap();
    let said = String::from_utf8_lossy(&work.stdout).into_owned();
    assert_eq!(said, "well", "{}", work.stderr_text());
    node.sh("readlink /proc/$(pidof rampool-agent)/fd/* | grep /dev/kmsg").unwrap();
    node.sh("echo 0 >/proc/sys/kernel/dmesg_restrict; ! dmesg | grep 'no CAP_SYSLOG'").unwrap();
    assert!(mine().already);
    assert!(agent.export(Backend::Tmpfs, 400).unwrap().already);
    agent.unmount_demo(false).unwrap();
    agent.stop().unwrap();
    agent.detach_demo().unwrap();
    agent.destroy().unwrap();
    node.sh("ln -sf /opt/rampool/bin/rampool-agent /usr/sbin/rampool-agent").unwrap();
}
