//! Whose the mount is, where it may be, and who may hold it.

use rampool_proto::v1::{self, FailureKind, FilesystemKind, VolumeLayout};

use crate::cluster::{Agent, demo};
use crate::trio::{POINT, Trio};

fn mount(
    agent: &Agent,
    kind: FilesystemKind,
    point: &str,
    uid: u32,
) -> crate::cluster::Answer<v1::MountResponse> {
    agent.mount(v1::MountRequest {
        pool: demo(),
        filesystem: kind.into(),
        mount_point: point.to_owned(),
        readme: "This is memory.\n".to_owned(),
        uid,
        gid: uid,
        ..Default::default()
    })
}

pub(crate) fn a_users_pool_is_the_users_alone_wherever_it_is_mounted(trio: &Trio<'_>) {
    let (head, node) = (&trio.head, &trio.head.node);
    head.attach_to(&trio.exports).unwrap();
    head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    head.mkfs(FilesystemKind::Xfs, 2).unwrap();
    node.sh("mkdir /scratch").unwrap();
    for (point, stays) in [("/scratch", true), ("", false)] {
        let mounted = mount(head, FilesystemKind::Xfs, point, 1000).unwrap();
        let at = mounted.usage.unwrap().mount_point;
        assert_eq!(at, if stays { "/scratch" } else { POINT });
        assert_eq!(node.sh(&format!("stat -c %u:%g:%a {at}")).unwrap(), "1000:1000:700");
        assert_eq!(node.sh(&format!("stat -c %u:%a {at}/README")).unwrap(), "0:444");
        // What the owner did since is kept, and nothing of it is followed.
        node.sh(&format!("chmod 750 {at}; rm -f {at}/README; ln -s /etc/passwd {at}/README"))
            .unwrap();
        assert!(mount(head, FilesystemKind::Xfs, &at, 1000).unwrap().already);
        assert_eq!(
            node.sh(&format!("stat -c %a {at}; head -c 4 /etc/passwd")).unwrap(),
            "750\nroot"
        );
        node.sh(&format!("rm {at}/README; chmod 700 {at}")).unwrap();
        head.unmount_demo(false).unwrap();
        assert_eq!(
            node.sh(&format!("test -d {at} && echo there || true")).unwrap() == "there",
            stays
        );
    }
    node.sh("rmdir /scratch").unwrap();
    trio.down();
}

/// Root's own program that is whoever owns it, and a device that anybody may read.
const TRAPS: &str = "cp /usr/bin/id /rampool/demo/id; chmod 4755 /rampool/demo/id; \
    mknod /rampool/demo/zero c 1 5; chmod 666 /rampool/demo/zero";

const WHO: &str = "setpriv --reuid 1000 --regid 1000 --clear-groups";

/// On any node that has the pool mounted: what is set-uid or a device there is neither.
pub(crate) fn assert_traps_catch_nobody(node: &rampool_lab::Node) {
    assert_eq!(node.sh(&format!("{WHO} /rampool/demo/id -u")).unwrap(), "1000");
    node.sh(&format!("! {WHO} head -c 1 /rampool/demo/zero 2>/dev/null")).unwrap();
    let options = node.sh("findmnt --noheadings --output OPTIONS /rampool/demo").unwrap();
    assert!(options.contains("nosuid") && options.contains("nodev"), "{options}");
}

/// Lays them out where the pool is mounted as its user's.
pub(crate) fn lay_traps(node: &rampool_lab::Node) {
    node.sh(TRAPS).unwrap();
    // Where nothing forbids it they work: else the test could not fail.
    node.sh("cp -a /rampool/demo/id /rampool/demo/zero /srv/").unwrap();
    assert_eq!(node.sh(&format!("{WHO} /srv/id -u")).unwrap(), "0");
    node.sh(&format!("{WHO} head -c 1 /srv/zero >/dev/null; rm /srv/id /srv/zero")).unwrap();
}

pub(crate) fn nothing_in_a_users_tree_leads_root_or_anybody_out_of_it(trio: &Trio<'_>) {
    let (head, node) = (&trio.head, &trio.head.node);
    head.attach_to(&trio.exports).unwrap();
    head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    head.mkfs(FilesystemKind::Xfs, 2).unwrap();
    mount(head, FilesystemKind::Xfs, "", 1000).unwrap();
    lay_traps(node);
    assert_traps_catch_nobody(node);
    // What root writes, opens or gives away at the next mount leads to other files.
    let victims = "stat -c '%n %u:%g %a %Y %s' /etc /etc/shadow /etc/iscsi; ls /etc/planted 2>&1";
    let before = node.sh(&format!("{victims} || true")).unwrap();
    for link in ["/etc/planted", "/etc/shadow", "/etc", "../../../etc/planted", "README"] {
        node.sh(&format!("rm -f /rampool/demo/README; ln -s {link} /rampool/demo/README")).unwrap();
        head.unmount_demo(false).unwrap();
        // Another owner than it has: everything is done that is ever done there.
        mount(head, FilesystemKind::Xfs, "", 1001).unwrap();
        assert_eq!(node.sh("stat -c %u /rampool/demo").unwrap(), "1001", "{link}");
        mount(head, FilesystemKind::Xfs, "", 1000).unwrap();
        assert_eq!(node.sh("readlink /rampool/demo/README").unwrap(), link);
    }
    assert_eq!(node.sh(&format!("{victims} || true")).unwrap(), before);
    trio.down();
}

pub(crate) fn a_bare_device_is_its_owners_and_kept_while_it_is_open(trio: &Trio<'_>) {
    let (head, node) = (&trio.head, &trio.head.node);
    head.attach_to(&trio.exports).unwrap();
    let volume = head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    assert!(head.mkfs(FilesystemKind::None, 2).unwrap().already);
    let mounted = mount(head, FilesystemKind::None, "", 1000).unwrap();
    let usage = mounted.usage.unwrap();
    assert_eq!((usage.device.as_str(), usage.bytes_total), (volume.device.as_str(), volume.bytes));
    assert!(mount(head, FilesystemKind::None, "", 1000).unwrap().already);
    assert_eq!(node.sh(&format!("stat -c %u:%a {}", volume.device)).unwrap(), "1000:600");
    node.daemon("user", ["sh", "-c", &format!("exec 9<> {}; exec sleep 600", volume.device)])
        .unwrap();
    node.sh("until pidof sleep; do sleep 0.05; done").unwrap();
    let busy = head.unmount_demo(false).unwrap_err();
    assert!(busy.kind() == FailureKind::Busy && busy.said.contains("sleep"), "{busy}");
    assert_eq!(head.unmount_demo(true).unwrap().terminated.len(), 1);
    trio.down();
}

pub(crate) fn mounts_that_others_made_of_the_pool_are_named(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let (head, node) = (&trio.head, &trio.head.node);
    node.sh("mkdir /elsewhere && mount --bind /rampool/demo /elsewhere").unwrap();
    let busy = head.unmount_demo(false).unwrap_err();
    assert!(busy.kind() == FailureKind::Busy && busy.said.contains("/elsewhere"), "{busy}");
    node.sh("umount /elsewhere; rmdir /elsewhere; mkdir /rampool/demo/in; \
             mount -t tmpfs inner /rampool/demo/in")
        .unwrap();
    let busy = head.unmount_demo(false).unwrap_err();
    assert!(busy.said.contains("/rampool/demo/in"), "{busy}");
    node.sh("umount /rampool/demo/in; modprobe loop; truncate -s 64M /rampool/demo/image; \
             losetup /dev/loop7 /rampool/demo/image")
        .unwrap();
    let busy = head.unmount_demo(false).unwrap_err();
    assert!(busy.said.contains("/dev/loop7"), "{busy}");
    node.sh("losetup -d /dev/loop7").unwrap();
    // A mount namespace that does not hear of our unmounting.
    node.daemon("container", ["unshare", "-m", "--propagation", "private", "sleep", "600"])
        .unwrap();
    node.sh("until pidof sleep; do sleep 0.05; done").unwrap();
    let busy = head.unmount_demo(false).unwrap_err();
    assert!(busy.said.contains("mount namespace of pid"), "{busy}");
    let again = head.unmount_demo(false).unwrap_err();
    assert!(again.said.contains("mount namespace of pid"), "{again}");
    node.sh("kill $(pidof sleep); while pidof sleep; do sleep 0.05; done").unwrap();
    head.unmount_demo(false).unwrap();
    trio.down();
    trio.cluster.assert_node_as_at_boot(node);
}
