//! What the agent refuses though the controller itself asks: whatever is not rampool's.

use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{
    self, Backend, Export, FailureKind, FilesystemKind, PoolId, SharingRole, Target, VolumeLayout,
};

use crate::cluster::{Agent, Answer, Cluster, HEAD, MIB, demo, export_request};

/// It was refused as a request that makes no sense here; answers with what was said.
#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, answer: Answer<T>) -> String {
    let failure = answer.expect_err(what);
    assert_eq!(failure.kind(), FailureKind::Invalid, "{what}: {failure}");
    failure.to_string()
}

/// Below roots of its own, and yet not fit.
const TRAPS: &str = "mkdir -p /mnt/full /mnt/taken /scratch/mine/point; touch /mnt/full/file; \
    ln -s /etc /mnt/link; mount -t tmpfs site /mnt/taken; chown 1000 /scratch/mine";

const TRAPS_GONE: &str =
    "umount /mnt/taken; rm -r /mnt/full /mnt/link /mnt/taken /scratch; rmdir /rampool";

pub(crate) fn the_controller_gets_nothing_that_is_not_rampools(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let node = &agent.node;
    node.sh(TRAPS).unwrap();
    let kept = "find / -xdev -newer /tmp/began ! -path '/var/log/*' ! -path '/tmp/*' -type f \
                2>/dev/null || true";
    node.sh("touch /tmp/began").unwrap();
    mount_points(&agent);
    names(&agent);
    addresses(&agent);
    devices(&agent);
    assert_eq!(node.sh(kept).unwrap(), "", "files that a refused request changed");
    assert!(agent.holdings().is_empty());
    node.sh(TRAPS_GONE).unwrap();
}

fn check_head(agent: &Agent, point: &str) -> Answer<v1::CheckHeadResponse> {
    agent.check_head(v1::CheckHeadRequest {
        pool: demo(),
        layout: VolumeLayout::Md.into(),
        filesystem: FilesystemKind::Xfs.into(),
        mount_point: point.to_owned(),
        ..Default::default()
    })
}

fn check_sharing(
    agent: &Agent,
    role: SharingRole,
    point: &str,
) -> Answer<v1::CheckSharingResponse> {
    agent.check_sharing(v1::CheckSharingRequest {
        pool: demo(),
        role: role.into(),
        mount_point: point.to_owned(),
        lends: false,
    })
}

fn mount_share(agent: &Agent, head: &str, point: &str) -> Answer<v1::MountShareResponse> {
    agent.mount_share(v1::MountShareRequest {
        pool: demo(),
        head: head.to_owned(),
        path: "/demo.1".to_owned(),
        mount_point: point.to_owned(),
        patience_seconds: 1,
    })
}

fn mount_points(agent: &Agent) {
    let outside = ["/", "/etc", "/proc/self/cwd", "/root/x", "/rampoolx", "etc", "/rampool/../etc"];
    for point in outside.into_iter().chain(["/rampool//demo", "/rampool/demo/", "/mnt/./x"]) {
        refused(point, check_head(agent, point));
        refused(point, check_sharing(agent, SharingRole::Head, point));
        refused(point, check_sharing(agent, SharingRole::Client, point));
        refused(point, agent.mount_at(FilesystemKind::Xfs, point));
        refused(point, mount_share(agent, "10.77.0.11", point));
        let job = v1::AdmitJobRequest {
            job: 17,
            uid: 1000,
            pool: demo(),
            mount_point: point.to_owned(),
            ..Default::default()
        };
        refused(point, agent.admit_job(job));
    }
    for (point, why) in [
        ("/mnt/link", "symbolic link"),
        ("/mnt/link/iscsi", "symbolic link"),
        ("/mnt/full", "not empty"),
        ("/mnt/taken", "is mounted there"),
        ("/mnt/none", "does not exist"),
        ("/scratch/mine/point", "others than root can change /scratch/mine"),
    ] {
        let said = refused(point, check_head(agent, point));
        assert!(said.contains(why), "{point}: {said}");
        refused(point, check_sharing(agent, SharingRole::Client, point));
    }
    // Not even the usual place, where that is no longer root's.
    agent.node.sh("mkdir /rampool; chown 1000 /rampool").unwrap();
    refused("the usual place", check_head(agent, ""));
    agent.node.sh("chown 0 /rampool; chmod 777 /rampool").unwrap();
    refused("the usual place", check_head(agent, ""));
    agent.node.sh("chmod 755 /rampool").unwrap();
    check_head(agent, "").unwrap();
}

fn names(agent: &Agent) {
    for (name, generation) in
        [("", 1), ("..", 1), ("../x", 1), ("a/b", 1), ("De mo", 1), ("a\nb", 1), ("demo", 0)]
    {
        let pool = || Some(PoolId { name: name.to_owned(), generation });
        refused(
            name,
            agent.create_export(v1::CreateExportRequest {
                pool: pool(),
                ..export_request(Backend::Tmpfs, 16)
            }),
        );
        refused(
            name,
            agent.destroy_export(v1::DestroyExportRequest { pool: pool(), ..Default::default() }),
        );
        refused(name, agent.fence_export(v1::FenceExportRequest { pool: pool() }));
        refused(name, agent.detach(v1::DetachRequest { pool: pool(), donors: Vec::new() }));
        refused(name, agent.stop_volume(v1::StopVolumeRequest { pool: pool() }));
        refused(name, agent.fail_volume(v1::FailVolumeRequest { pool: pool() }));
        refused(name, agent.unmount(v1::UnmountRequest { pool: pool(), force: true }));
        refused(name, agent.unmount_share(v1::UnmountShareRequest { pool: pool(), force: true }));
        refused(name, agent.unshare_filesystem(v1::UnshareFilesystemRequest { pool: pool() }));
        refused(name, agent.get_usage(v1::GetUsageRequest { pool: pool() }));
    }
    for name in [
        "iqn.2026-11.org.rampool:other.1.head",
        "iqn.2026-11.org.rampool:demo.2.head",
        "iqn.1993-08.org.debian:01:abcdef",
        "iqn.2026-11.org.rampool:demo.1.../../x",
    ] {
        let way = Some(Way::HeadInitiator(name.to_owned()));
        let request = v1::CreateExportRequest { way, ..export_request(Backend::RdMcp, 16) };
        refused(name, agent.create_export(request));
    }
}

/// An export that is all right but for what its target says.
fn attach(agent: &Agent, change: impl FnOnce(&mut Target)) -> Answer<v1::AttachResponse> {
    let serial = agent.export(Backend::RdMcp, 16).unwrap();
    agent.destroy().unwrap();
    let mut export = Export { bytes: 16 * MIB, ..serial };
    change(export.target.as_mut().unwrap());
    agent.attach_to(&[export])
}

fn addresses(agent: &Agent) {
    for address in ["192.0.2.7", "127.0.0.1", "10.78.0.1", "n1", "*", "10.0.0.0/8", "0.0.0.0", ""] {
        let clients = vec!["10.77.0.12".to_owned(), address.to_owned()];
        let request = v1::ShareFilesystemRequest { pool: demo(), clients };
        refused(address, agent.share_filesystem(request));
        refused(address, mount_share(agent, address, ""));
        refused(address, attach(agent, |target| target.address = address.to_owned()));
    }
    let said = refused("outside", mount_share(agent, "192.0.2.7", ""));
    assert!(said.contains("10.77.0.0/24") && said.contains("data_networks"), "{said}");
}

fn devices(agent: &Agent) {
    for target in ["iqn.2003-01.org.site:x", "iqn.2026-11.org.rampool:demo.2.n1", "../x"] {
        refused(target, attach(agent, |named| named.iqn = target.to_owned()));
    }
    refused(
        "a secret of two lines",
        attach(agent, |target| {
            target.chap.as_mut().unwrap().password = "x\nnode.startup = automatic".to_owned();
        }),
    );
    let other = v1::AttachRequest {
        pool: demo(),
        initiator: HEAD.replace("demo", "other"),
        exports: vec![Export::default()],
        patience_seconds: 8,
        ..Default::default()
    };
    refused("another's initiator", agent.attach(other));
    for serial in ["/dev/sda", "../../sda", "sda", "*", ""] {
        let serials = vec![serial.to_owned()];
        refused(
            serial,
            agent.assemble_volume(v1::AssembleVolumeRequest {
                pool: demo(),
                layout: VolumeLayout::Md.into(),
                chunk_kib: 64,
                serials: serials.clone(),
                ..Default::default()
            }),
        );
        refused(serial, agent.readd_members(v1::ReaddMembersRequest { pool: demo(), serials }));
        refused(
            serial,
            agent.replace_member(v1::ReplaceMemberRequest {
                pool: demo(),
                old_serial: String::new(),
                new_serial: serial.to_owned(),
            }),
        );
    }
    let donors = vec!["../n2".to_owned()];
    refused("a donor", agent.detach(v1::DetachRequest { pool: demo(), donors }));
}
