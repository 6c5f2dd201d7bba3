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
