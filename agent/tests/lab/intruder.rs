//! A node of the cluster, with root's rights on it, that is no head: what it can get of another
//! pool's memory, with the site's own tools.

use rampool_lab::Node;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{
    Backend, CreateExportRequest, DestroyExportRequest, Export, HoldingKind, ReservedWay, Target,
};

use crate::cases::{cases, in_turn};
use crate::cluster::{Agent, Cluster, MIB, pool};

/// What each pool has of the donor, in MiB.
const PIECE: u64 = 16;

#[test]
fn memory_is_for_the_head_of_its_own_pool_alone() {
    let cluster = Cluster::boot("agent-intruder", 2, 640);
    let cases = cases![
        nobody_logs_in_without_this_generations_name_and_secret,
        what_is_reserved_lets_nobody_in_before_its_head_is_known,
        strangers_find_nothing,
        no_byte_of_an_earlier_pool_is_in_a_new_one,
    ];
    in_turn(cases, |case| {
        case(&cluster);
        cluster.assert_as_at_boot();
    });
}

fn initiator(name: &str, generation: u32) -> String {
    format!("iqn.2026-11.org.rampool:{name}.{generation}.head")
}

fn request(name: &str, generation: u32, backend: Backend) -> CreateExportRequest {
    CreateExportRequest {
        pool: pool(name, generation),
        backend: backend.into(),
        bytes: PIECE * MIB,
        way: Some(Way::HeadInitiator(initiator(name, generation))),
        ..Default::default()
    }
}

fn lend(donor: &Agent, name: &str, generation: u32, backend: Backend) -> Target {
    let Export { target, .. } = donor.create_export(request(name, generation, backend)).unwrap();
    target.unwrap()
}

fn take_back(donor: &Agent, name: &str, generation: u32) {
    let pool = pool(name, generation);
    let request = DestroyExportRequest { pool, ..Default::default() };
    assert!(!donor.destroy_export(request).unwrap().already);
}

/// Who the intruder says that it is: an initiator's name, and CHAP's user and password.
type Claim<'a> = (&'a str, Option<(&'a str, &'a str)>);

/// Records for a login that is tried once.
fn records(target: &Target, (initiator, secret): Claim<'_>) -> String {
    let Target { iqn, address, port, .. } = target;
    let record = format!("iscsiadm -m node -T {iqn} -p {address}:{port} -I thief");
    let mut settings = vec![
        "node.session.initial_login_retry_max=1".to_owned(),
        "node.conn[0].timeo.login_timeout=5".to_owned(),
    ];
    if let Some((user, password)) = secret {
        settings.push("node.session.auth.authmethod=CHAP".to_owned());
        settings.push(format!("node.session.auth.username={user}"));
        settings.push(format!("node.session.auth.password={password}"));
    }
    format!(
        "set -e; exec >/dev/null\n\
         iscsiadm -m iface -I thief -o new\n\
         iscsiadm -m iface -I thief -o update -n iface.initiatorname -v {initiator}\n\
         {record} -o new\n\
         for setting in {}; do\n\
         {record} -o update -n \"${{setting%%=*}}\" -v \"${{setting#*=}}\"; done\n",
        settings.join(" ")
    )
}

/// Logs in as claimed, does something with the disk, and leaves nothing behind; iscsiadm's words
/// where it is not let in.
fn break_in(thief: &Node, target: &Target, claim: Claim<'_>, with: &str) -> Result<String, String> {
    let record = format!("iscsiadm -m node -T {} -I thief", target.iqn);
    thief.sh(&records(target, claim)).unwrap();
    let disk = "d=; until [ -n \"$d\" ]; do \
                d=$(ls -d /sys/class/iscsi_session/*/device/target*/*/block/* 2>/dev/null); done; \
                d=/dev/${d##*/}";
    let entered = thief.sh(&format!("{record} --login >/dev/null"));
    let did = entered.map(|_| thief.sh(&format!("{disk}\n{with}")).unwrap());
    let leave = format!(
        "{record} --logout >/dev/null 2>&1 || true; {record} -o delete; \
         iscsiadm -m iface -I thief -o delete >/dev/null"
    );
    thief.sh(&leave).unwrap();
    did.map_err(|error| error.to_string())
}

/// open-iscsi's word for a login that was refused (its ISCSI_ERR_LOGIN_AUTH_FAILED).
const REFUSED: &str = "24 - iSCSI login failed due to authorization failure";

fn nobody_logs_in_without_this_generations_name_and_secret(cluster: &Cluster) {
    let donor = cluster.agent("n2");
    let thief = cluster.agent("n1").node;
    let old = lend(&donor, "demo", 1, Backend::RdMcp).chap.unwrap();
    take_back(&donor, "demo", 1);
    let own = lend(&donor, "own", 1, Backend::RdMcp).chap.unwrap();
    let target = lend(&donor, "demo", 2, Backend::RdMcp);
    let chap = target.chap.clone().unwrap();
    let head = initiator("demo", 2);
    let (user, password) = (chap.user.as_str(), chap.password.as_str());
    // The door has a key: with it, whoever has it gets in.
    break_in(&thief, &target, (&head, Some((user, password))), "test -b $d").unwrap();

    let (of_old, of_own) = (initiator("demo", 1), initiator("own", 1));
    let claims: [(&str, Claim<'_>); 8] = [
        ("no secret", (&head, None)),
        ("a guessed secret", (&head, Some((user, "0123456789abcdef")))),
        ("the way back's secret", (&head, Some((user, &chap.mutual_password)))),
        ("the old generation's", (&head, Some((&old.user, &old.password)))),
        ("the old generation's, by the new name", (&head, Some((user, &old.password)))),
        ("its own pool's", (&head, Some((&own.user, &own.password)))),
        ("the right one of the old head", (&of_old, Some((user, password)))),
        ("the right one of another pool's head", (&of_own, Some((user, password)))),
    ];
    for (what, claim) in claims {
        let said = break_in(&thief, &target, claim, "true").expect_err(what);
        assert!(said.contains(REFUSED), "{what}: {said}");
    }
    take_back(&donor, "demo", 2);
    take_back(&donor, "own", 1);
}

fn what_is_reserved_lets_nobody_in_before_its_head_is_known(cluster: &Cluster) {
    let donor = cluster.agent("n2");
    let thief = cluster.agent("n1").node;
    let known = lend(&donor, "demo", 1, Backend::RdMcp);
    take_back(&donor, "demo", 1);
    let way = Some(Way::Reserved(ReservedWay {}));
    let request = CreateExportRequest { way, ..request("demo", 1, Backend::RdMcp) };
    assert!(donor.create_export(request).unwrap().target.is_none());
    let (head, old) = (initiator("demo", 1), known.chap.clone().unwrap());
    for claim in [(head.as_str(), None), (head.as_str(), Some((&*old.user, &*old.password)))] {
        let said = break_in(&thief, &known, claim, "true").unwrap_err();
        assert!(said.contains("initiator reported error"), "{said}");
    }
    let opened = lend(&donor, "demo", 1, Backend::RdMcp);
    let chap = opened.chap.clone().unwrap();
    let claim = (head.as_str(), Some((chap.user.as_str(), chap.password.as_str())));
    break_in(&thief, &opened, claim, "test -b $d").unwrap();
    take_back(&donor, "demo", 1);
}

fn strangers_find_nothing(cluster: &Cluster) {
    let donor = cluster.agent("n2");
    let thief = cluster.agent("n1").node;
    let target = lend(&donor, "demo", 1, Backend::RdMcp);
    let discover = format!(
        "iscsiadm -m discovery -t sendtargets -p {}:{} -o nonpersistent 2>&1 || true",
        target.address, target.port
    );
    let found = thief.sh(&discover).unwrap();
    assert!(found.contains("No portals found"), "{found}");
    take_back(&donor, "demo", 1);
}

fn no_byte_of_an_earlier_pool_is_in_a_new_one(cluster: &Cluster) {
    let donor = cluster.agent("n2");
    let user = cluster.agent("n1").node;
    for backend in [Backend::RdMcp, Backend::Tmpfs, Backend::Brd] {
        let mut generations = 1..=2;
        let mut with_disk = |act: &str| {
            let generation = generations.next().unwrap();
            let target = lend(&donor, "demo", generation, backend);
            let held = donor.inventory().unwrap().holdings;
            assert!(held.iter().any(|holding| holding.kind() == HoldingKind::Export));
            let chap = target.chap.clone().unwrap();
            let head = initiator("demo", generation);
            let claim = (head.as_str(), Some((chap.user.as_str(), chap.password.as_str())));
            let said = break_in(&user, &target, claim, act).unwrap();
            take_back(&donor, "demo", generation);
            said
        };
        with_disk(&format!(
            "yes secret | head -c {} | dd of=$d bs=1M iflag=fullblock conv=fsync status=none; \
             sync; test $(grep -ac secret $d) -gt 1000",
            PIECE * MIB
        ));
        let bytes = with_disk("tr -d '\\0' <$d | wc -c");
        assert_eq!(bytes.trim(), "0", "{backend:?}: bytes that are not zero");
    }
}
