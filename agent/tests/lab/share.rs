//! A mounted pool on other nodes, by NFS: `n1` is its head, `n2` (a donor too) and `n4` mount it,
//! `n3` may not.

use std::time::{Duration, Instant};

use rampool_lab::{Init, Node};
use rampool_proto::v1::{self, FailureKind, FilesystemKind, SharingRole, VolumeLayout};

use crate::cases::cases;
use crate::cluster::{Agent, Answer, Cluster, assert_as_before, demo, traces};
use crate::mounts;
use crate::trio::{POINT, Trio, each_with_fresh_exports};

/// Unsharing, unmounting, stopping and detaching, all together: it waits for nobody.
const DOWN: Duration = Duration::from_secs(8);

/// How long a client waits for a head that is not to be reached, in these tests.
const PATIENCE: u32 = 9;

/// Ending the uses of a dead head, and the mount.
const FORCED: Duration = Duration::from_secs(15);

/// From a head's return without its pool to the end of what waited for it: its connection is tried
/// again at growing intervals, the next within as long as it was away.
const TOLD: Duration = Duration::from_secs(40);

#[test]
fn a_pool_is_shared_with_its_clients_alone() {
    let cluster = Cluster::boot_serving("agent-share", 4, 768, Init::Plain, &["n1"]);
    each_with_fresh_exports(
        &cluster,
        cases![
            clients_use_the_pool_as_its_user_and_nobody_else_does,
            after_kill_9_and_half_done_work_a_repeat_converges,
            a_client_that_died_delays_nobody_and_the_sites_clients_go_on,
            a_pool_below_the_sites_root_is_found_there,
            a_dead_head_is_not_waited_for,
        ],
    );
}

fn up(trio: &Trio<'_>, point: &str) {
    trio.head.attach_to(&trio.exports).unwrap();
    trio.head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    trio.head.mkfs(FilesystemKind::Xfs, 2).unwrap();
    let request = v1::MountRequest {
        pool: demo(),
        filesystem: FilesystemKind::Xfs.into(),
        mount_point: point.to_owned(),
        readme: "This is memory.\n".to_owned(),
        uid: 1000,
        gid: 1000,
        ..Default::default()
    };
    trio.head.mount(request).unwrap();
}

fn check(agent: &Agent, role: SharingRole, point: &str) -> Answer<v1::CheckSharingResponse> {
    let mount_point = point.to_owned();
    agent.check_sharing(v1::CheckSharingRequest {
        pool: demo(),
        role: role.into(),
        mount_point,
        lends: false,
    })
}

fn share(trio: &Trio<'_>, clients: &[&str]) -> Answer<v1::ShareFilesystemResponse> {
    let address = |name: &&str| trio.cluster.lab.node(name).unwrap().data_addr().to_string();
    let clients = clients.iter().map(address).collect();
    trio.head.share_filesystem(v1::ShareFilesystemRequest { pool: demo(), clients })
}

fn unshare(trio: &Trio<'_>) -> Answer<v1::UnshareFilesystemResponse> {
    trio.head.unshare_filesystem(v1::UnshareFilesystemRequest { pool: demo() })
}

fn join(trio: &Trio<'_>, client: &Agent, path: &str) -> Answer<v1::MountShareResponse> {
    client.mount_share(v1::MountShareRequest {
        pool: demo(),
        head: trio.head.node.data_addr().to_string(),
        path: path.to_owned(),
        mount_point: String::new(),
        patience_seconds: PATIENCE,
    })
}

fn leave(client: &Agent, force: bool) -> Answer<v1::UnmountShareResponse> {
    client.unmount_share(v1::UnmountShareRequest { pool: demo(), force })
}

/// Does it as the pool's user.
fn user(node: &Node, script: &str) -> rampool_lab::Output {
    let who = ["--reuid", "1000", "--regid", "1000", "--clear-groups"];
    let argv = ["setpriv"].into_iter().chain(who).chain(["sh", "-c", script]);
    node.exec(argv).unwrap()
}

fn says(node: &Node, script: &str) -> String {
    user(node, script).ok().unwrap()
}

/// Starts a user's process that goes on, and waits for `sign`, a file in /tmp.
fn start(node: &Node, script: &str, sign: &str) {
    let script = format!(
        "rm -f /tmp/{sign}; exec setpriv --reuid 1000 --regid 1000 --clear-groups sh -c '{script}'"
    );
    node.daemon("user", ["sh", "-c", &script]).unwrap();
    node.sh(&format!(
        "i=0; until test -e /tmp/{sign}; do sleep 0.05; i=$((i+1)); test $i -lt 1200; done"
    ))
    .unwrap();
}

fn clients_use_the_pool_as_its_user_and_nobody_else_does(trio: &Trio<'_>) {
    let [n2, n3, n4] = ["n2", "n3", "n4"].map(|name| trio.cluster.agent(name));
    check(&trio.head, SharingRole::Head, "").unwrap();
    check(&n4, SharingRole::Client, "").unwrap();
    let told = check(&n2, SharingRole::Head, "").unwrap_err();
    assert_eq!(told.kind(), FailureKind::NotNow);
    assert!(told.advice.contains("systemctl enable --now nfs-server"), "{told}");
    let told = share(trio, &["n2"]).unwrap_err();
    assert_eq!(told.kind(), FailureKind::NotFound, "nothing is mounted: {told}");
    up(trio, "");

    let shared = share(trio, &["n2", "n4"]).unwrap();
    assert!(!shared.already);
    assert!(share(trio, &["n4", "n2"]).unwrap().already);
    for client in [&n2, &n4] {
        assert_eq!(join(trio, client, &shared.path).unwrap().mount_point, POINT);
        assert!(join(trio, client, &shared.path).unwrap().already);
    }
    assert_eq!(join(trio, &n4, "/other").unwrap_err().kind(), FailureKind::Conflict);
    assert!(join(trio, &n3, &shared.path).is_err(), "n3 is not on the list");

    says(&n2.node, "echo from n2 > /rampool/demo/f");
    assert_eq!(says(&n4.node, "cat /rampool/demo/f; echo from n4 > /rampool/demo/g"), "from n2");
    assert_eq!(says(&n2.node, "cat /rampool/demo/g"), "from n4");
    assert_eq!(trio.head.node.sh("stat -c %u:%g /rampool/demo/g").unwrap(), "1000:1000");
    // Root of a client is nobody: the user's folder is the user's alone.
    n4.node.sh("! cat /rampool/demo/f && ! touch /rampool/demo/r 2>/dev/null").unwrap();

    mounts::lay_traps(&trio.head.node);
    for node in [&trio.head.node, &n2.node, &n4.node] {
        mounts::assert_traps_catch_nobody(node);
    }

    // A site's admin has exportfs read all files anew.
    trio.head.node.sh("exportfs -ra").unwrap();
    assert!(share(trio, &["n2", "n4"]).unwrap().already, "exportfs -ra dropped it");
    assert_eq!(says(&n4.node, "cat /rampool/demo/f"), "from n2");
    let held = trio.head.holdings();
    assert!(
        held.iter().any(|h| h == "HOLDING_KIND_SHARE /run/rampool/share/root/demo.1"),
        "{held:?}"
    );
    assert_eq!(n4.holdings(), ["HOLDING_KIND_SHARE_MOUNT rp.demo.1:/demo.1"]);
    let mounts = held.iter().filter(|h| h.starts_with("HOLDING_KIND_MOUNT")).count();
    assert_eq!(mounts, 1, "the clients' view is no mount of the pool's: {held:?}");

    // Off the list, and what it had open is closed; whoever is on it goes on.
    start(&n2.node, "exec 9> /rampool/demo/h; touch /tmp/open; exec sleep 600", "open");
    assert!(!share(trio, &["n4"]).unwrap().already);
    assert!(user(&n2.node, "cat /rampool/demo/f").ok().is_err(), "n2 is not on the list any more");
    assert_eq!(says(&n4.node, "cat /rampool/demo/f"), "from n2");

    let busy = trio.head.unmount_demo(false).unwrap_err();
    let n4_address = n4.node.data_addr().to_string();
    assert!(busy.kind() == FailureKind::Busy && busy.said.contains(&n4_address), "{busy}");
    let busy = leave(&n2, false).unwrap_err();
    assert!(busy.kind() == FailureKind::Busy && busy.said.contains("sleep"), "{busy}");
    assert_eq!(leave(&n2, true).unwrap().terminated.len(), 1);
    assert!(!leave(&n4, false).unwrap().already);
    assert!(leave(&n4, false).unwrap().already);
    assert!(!unshare(trio).unwrap().already);
    assert!(unshare(trio).unwrap().already);
    trio.down();
}

fn after_kill_9_and_half_done_work_a_repeat_converges(trio: &Trio<'_>) {
    let n4 = trio.cluster.agent("n4");
    up(trio, "");
    let unshared = traces(&trio.head.node);
    // What a call that ended halfway had made, by hand: it is held, and goes.
    trio.head
        .node
        .sh("mkdir -p /run/rampool/share/root; mount -t tmpfs rampool /run/rampool/share/root; \
             mkdir /run/rampool/share/root/demo.1; \
             mount --bind /rampool/demo /run/rampool/share/root/demo.1")
        .unwrap();
    let held = trio.head.holdings();
    assert!(held.iter().any(|h| h.starts_with("HOLDING_KIND_SHARE")), "{held:?}");
    assert!(!unshare(trio).unwrap().already);
    assert_as_before(&trio.head.node, &unshared);
    let lost = ["rm /etc/exports.d/rp.demo.1.exports", "rm /etc/exports.d/*; exportfs -ua"];
    let shared = share(trio, &["n4"]).unwrap();
    join(trio, &n4, &shared.path).unwrap();
    for lost in lost {
        trio.head.node.sh(lost).unwrap();
        trio.cluster.kill_agent("n1");
        trio.cluster.start_agent("n1");
        let held = trio.head.holdings();
        assert!(held.iter().any(|h| h.starts_with("HOLDING_KIND_SHARE")), "{lost}: {held:?}");
        assert!(!share(trio, &["n4"]).unwrap().already, "{lost}");
        assert!(share(trio, &["n4"]).unwrap().already, "{lost}");
    }
    trio.cluster.kill_agent("n4");
    let n4 = trio.cluster.start_agent("n4");
    assert!(join(trio, &n4, &shared.path).unwrap().already);
    says(&n4.node, "echo still > /rampool/demo/f && cat /rampool/demo/f");
    // As a reap would: what is left on a client, then what is left on the head.
    let all = v1::UnmountRequest { pool: demo(), force: false };
    assert!(!n4.unmount(all).unwrap().already);
    trio.head.node.sh("rm /etc/exports.d/rp.demo.1.exports").unwrap();
    trio.head.unmount_demo(true).unwrap();
    trio.down();
}

/// A site's own export, on a tmpfs, since the lab's root cannot be exported; used by `n3` alone.
const SITE: &str = "mkdir -p /srv/site; mount -t tmpfs site /srv/site; echo mine > /srv/site/f; \
    chmod 777 /srv/site; exportfs -o rw,fsid=0,no_subtree_check 10.77.0.13:/srv/site";

const SITE_ENDS: &str = "exportfs -u 10.77.0.13:/srv/site; \
    i=0; until umount /srv/site; do sleep 0.1; i=$((i+1)); test $i -lt 600; done; rmdir /srv/site";

/// What of a site's NFS server a pool may not touch.
const SITE_ALL: &str = "exportfs -v | sort; cd /proc/fs/nfsd; \
    cat threads versions nfsv4leasetime nfsv4gracetime v4_end_grace portlist; \
    for c in clients/*; do grep -q 10.77.0.13 $c/info && echo $c && grep clientid $c/info; done; \
    cat /etc/exports /etc/nfs.conf | md5sum";

fn a_client_that_died_delays_nobody_and_the_sites_clients_go_on(trio: &Trio<'_>) {
    let [n3, n4] = ["n3", "n4"].map(|name| trio.cluster.agent(name));
    let head = &trio.head.node;
    head.sh(SITE).unwrap();
    n3.node
        .sh("mkdir /mnt/site; mount -t nfs4 -o vers=4.2 10.77.0.11:/ /mnt/site; \
             exec 9> /mnt/site/held; echo held >&9; (sleep 600 >/dev/null 2>&1 &)")
        .unwrap();
    // What the server does by itself some time after its start is over.
    head.sh("until grep -q Y /proc/fs/nfsd/v4_end_grace; do sleep 0.05; done").unwrap();
    let before = head.sh(SITE_ALL).unwrap();
    assert!(before.contains("clientid"), "{before}");
    up(trio, "");
    let shared = share(trio, &["n4"]).unwrap();
    join(trio, &n4, &shared.path).unwrap();
    start(&n4.node, "exec 9> /rampool/demo/h; touch /tmp/open; exec sleep 600", "open");
    n4.node.kill().unwrap();

    let (began, pace) = (Instant::now(), trio.cluster.lab.pace(&["n1"]).unwrap());
    unshare(trio).unwrap();
    let unshared = began.elapsed();
    trio.down();
    let down = pace.since(began);
    eprintln!("after a client's death: unshared in {unshared:?}, down in {down:?}");
    assert!(down < DOWN, "{down:?}");

    assert_eq!(head.sh(SITE_ALL).unwrap(), before, "the site's NFS server is not as it was");
    n3.node.sh("test $(cat /mnt/site/f) = mine && echo more >> /mnt/site/held").unwrap();
    n3.node.sh("kill $(pidof sleep); umount /mnt/site; rmdir /mnt/site").unwrap();
    head.sh(SITE_ENDS).unwrap();
    n4.node.boot().unwrap();
    trio.cluster.start("n4");
}

fn a_pool_below_the_sites_root_is_found_there(trio: &Trio<'_>) {
    let n4 = trio.cluster.agent("n4");
    let head = &trio.head.node;
    head.sh("mkdir -p /srv/nfs; mount -t tmpfs -o mode=755 site /srv/nfs; mkdir /srv/nfs/pool; \
             exportfs -o ro,fsid=0,no_subtree_check '*:/srv/nfs'")
        .unwrap();
    let told = check(&trio.head, SharingRole::Head, "").unwrap_err();
    assert!(told.said.contains("/srv/nfs") && told.advice.contains("below /srv/nfs"), "{told}");
    up(trio, "/srv/nfs/pool");
    let shared = share(trio, &["n4"]).unwrap();
    assert_eq!(shared.path, "/pool");
    join(trio, &n4, &shared.path).unwrap();
    says(&n4.node, "echo here > /rampool/demo/f");
    assert_eq!(head.sh("cat /srv/nfs/pool/f").unwrap(), "here");
    leave(&n4, false).unwrap();
    unshare(trio).unwrap();
    trio.down();
    head.sh("exportfs -u '*:/srv/nfs'; \
             i=0; until umount /srv/nfs; do sleep 0.1; i=$((i+1)); test $i -lt 600; done; \
             rmdir /srv/nfs")
        .unwrap();
}

/// Writes until it fails, and notes that it did.
const WRITER: &str = "n=0; while dd if=/dev/zero of=/rampool/demo/w.$$ bs=64k count=160 \
    conv=fsync 2>/tmp/said; do touch /tmp/wrote; done; touch /tmp/failed";

fn a_dead_head_is_not_waited_for(trio: &Trio<'_>) {
    let [n2, n4] = ["n2", "n4"].map(|name| trio.cluster.agent(name));
    up(trio, "");
    let shared = share(trio, &["n2", "n4"]).unwrap();
    for client in [&n2, &n4] {
        join(trio, client, &shared.path).unwrap();
        client.node.sh("rm -f /tmp/failed").unwrap();
        start(&client.node, WRITER, "wrote");
    }
    let n1 = trio.cluster.lab.node("n1").unwrap();
    n1.kill().unwrap();

    let refused = leave(&n2, false).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow, "{refused}");
    let (began, pace) = (Instant::now(), trio.cluster.lab.pace(&["n2"]).unwrap());
    leave(&n2, true).unwrap();
    let left = pace.since(began);
    eprintln!("a dead head's share was unmounted in {left:?}");
    assert!(left < FORCED, "{left:?}");

    n1.boot().unwrap();
    trio.cluster.start("n1");
    let (began, pace) = (Instant::now(), trio.cluster.lab.pace(&["n4"]).unwrap());
    while n4.node.sh("test -e /tmp/failed").is_err() {
        assert!(pace.since(began) < TOLD, "what waits for a head without the pool waits on");
        std::thread::sleep(Duration::from_millis(200));
    }
    eprintln!("told of the pool's end {:?} after the head's return", began.elapsed());
    eprintln!("it said: {}", n4.node.sh("cat /tmp/said").unwrap());
    leave(&n4, true).unwrap();
    for donor in &trio.donors {
        let request = v1::DestroyExportRequest { pool: demo(), force: true, ..Default::default() };
        donor.destroy_export(request).unwrap();
    }
}
