use proptest::prelude::*;
use rampool_proto::v1::{Member, VolumeLayout};

use super::*;
use crate::planner::redundancy::bears;

fn holding(generation: u32, kind: HoldingKind) -> Holding {
    let pool = PoolId { name: "demo".into(), generation };
    Holding { pool: Some(pool), kind: kind.into(), ..Holding::default() }
}

fn donor(name: &str, generation: u32, carved: u32) -> Inventory {
    let ramdisk =
        Holding { bytes: 7 << 20, detail: "tmpfs".into(), ..holding(carved, HoldingKind::Ramdisk) };
    Inventory {
        node: name.into(),
        boot_id: format!("boot-{name}"),
        holdings: vec![ramdisk, holding(generation, HoldingKind::Export)],
        ..Inventory::default()
    }
}

fn member(donor: &str, state: MemberState) -> Member {
    let serial = if donor.is_empty() { String::new() } else { format!("serial-{donor}") };
    Member { serial, donor: donor.into(), state: state.into() }
}

fn head(name: &str, generation: u32, redundancy: Redundancy, members: Vec<Member>) -> Inventory {
    let health = VolumeHealth {
        layout: VolumeLayout::Md.into(),
        redundancy: redundancy.into(),
        chunk_kib: 64,
        members,
        ..VolumeHealth::default()
    };
    let volume = Holding {
        bytes: 12 << 20,
        health: Some(health),
        ..holding(generation, HoldingKind::Volume)
    };
    let mount = Holding {
        detail: "/scratch/demo".into(),
        filesystem: FilesystemKind::Ext4.into(),
        ..holding(generation, HoldingKind::Mount)
    };
    Inventory {
        node: name.into(),
        boot_id: format!("boot-{name}"),
        holdings: vec![volume, mount],
        ..Inventory::default()
    }
}

fn look(nodes: &[Inventory]) -> Survey {
    let racks = BTreeMap::from([("n2".to_owned(), "r1".to_owned())]);
    survey(&Vec::from_iter(nodes), |_| true, &racks, 1000)
}

fn one(nodes: &[Inventory]) -> PoolRecord {
    let mut survey = look(nodes);
    assert_eq!(survey.refused, Vec::<String>::new());
    assert_eq!(survey.pools.len(), 1);
    survey.pools.remove(0)
}

fn refusal(nodes: &[Inventory]) -> String {
    let survey = look(nodes);
    assert!(survey.pools.is_empty(), "{:?}", survey.pools);
    survey.refused.join("\n")
}

fn stripe(generation: u32, carved: u32) -> Vec<Inventory> {
    let members = vec![member("n3", MemberState::InSync), member("n2", MemberState::InSync)];
    vec![
        head("n1", generation, Redundancy::None, members),
        donor("n2", generation, carved),
        donor("n3", generation, carved),
    ]
}

#[test]
fn a_pool_in_use_is_recorded_as_its_head_and_donors_say() {
    let record = one(&stripe(3, 3));
    assert_eq!(record.assembly.to_string(), "demo.3");
    assert_eq!((record.formed, record.phase), (0, Phase::Ready));
    let placement = &record.placement;
    let donors: Vec<&str> = placement.pieces.iter().map(|piece| piece.donor.as_str()).collect();
    assert_eq!(donors, ["n3", "n2"], "in the stripe's order");
    assert_eq!((placement.head.as_str(), placement.mount_point.as_str()), ("n1", "/scratch/demo"));
    assert_eq!((placement.backend(), placement.usable_bytes), (Backend::Tmpfs, 12 << 20));
    assert_eq!(
        (placement.filesystem(), record.spec.filesystem()),
        (FilesystemKind::Ext4, FilesystemKind::Ext4)
    );
    assert_eq!((placement.chunk_kib, placement.patience_seconds), (64, 60));
    assert_eq!((placement.pieces[1].bytes, placement.pieces[1].rack.as_str()), (7 << 20, "r1"));
    assert_eq!(record.spec.owner, OWNER);
    assert_eq!(record.boot_ids["n1"], "boot-n1");
    assert_eq!(record.serials["n2"], "serial-n2");
}

#[test]
fn a_pool_that_failed_over_keeps_the_generation_it_was_formed_under() {
    let record = one(&stripe(5, 3));
    assert_eq!((record.formed(), record.assembly.generation), (3, 5));
    assert!(record.placement.pieces.iter().all(|piece| piece.carved == 3));
}

#[test]
fn memory_that_joined_later_is_found_under_its_own_number() {
    let mut nodes = stripe(3, 3);
    nodes[2] = donor("n3", 3, 7);
    let record = one(&nodes);
    assert_eq!((record.formed, record.given()), (0, 7));
    let carved: Vec<u32> = record.placement.pieces.iter().map(|piece| piece.carved).collect();
    assert_eq!(carved, [7, 0], "n3's and n2's");
}

#[test]
fn a_degraded_mirror_is_taken_over_and_the_lost_donor_owes_its_piece() {
    let members = vec![
        member("n2", MemberState::InSync),
        member("", MemberState::Missing),
        member("n4", MemberState::Spare),
        member("n3", MemberState::Faulty),
    ];
    // n3 does not answer.
    let nodes = [head("n1", 3, Redundancy::Mirror, members), donor("n2", 3, 3), donor("n4", 3, 3)];
    let record = one(&nodes);
    assert_eq!(record.lacking, BTreeSet::from([1]));
    assert_eq!(record.placement.pieces[1].donor, "n3");
    assert_eq!(record.placement.spares[0].donor, "n4");
    assert_eq!(record.debts[0].node, "n3");
    assert_eq!(record.spec.auto_replace, Some(true));
}

#[test]
fn what_does_not_add_up_is_refused_with_the_reason() {
    let insync = |donor| member(donor, MemberState::InSync);
    let mut split = stripe(3, 3);
    split.push(head("n9", 4, Redundancy::None, vec![insync("n2")]));
    assert!(refusal(&split).contains("more than one assembly"), "{}", refusal(&split));
    let mut twice = stripe(3, 3);
    twice.push(head("n9", 3, Redundancy::None, vec![insync("n2")]));
    assert!(refusal(&twice).contains("more than one node"));
    assert!(refusal(&stripe(3, 3)[..2]).contains("n3 does not answer"));
    assert!(refusal(&stripe(3, 3)[1..]).contains("no node that answers has it in use"));
    for (member, word) in [
        (member("n3", MemberState::Faulty), "its volume lost n3"),
        (member("n3", MemberState::Rebuilding), "being rebuilt"),
        (member("", MemberState::InSync), "no session"),
    ] {
        let nodes = [
            head("n1", 3, Redundancy::None, vec![insync("n2"), member]),
            donor("n2", 3, 3),
            donor("n3", 3, 3),
        ];
        assert!(refusal(&nodes).contains(word), "{word}: {}", refusal(&nodes));
    }
    let mut mute = stripe(3, 3);
    mute[0].holdings[0].health = None;
    assert!(refusal(&mute).contains("does not say of what"));
}

#[test]
fn a_device_that_was_given_to_a_user_is_taken_over_and_what_may_carry_files_is_not() {
    let mut nodes = stripe(3, 3);
    nodes[0].holdings[1].filesystem = FilesystemKind::Unspecified.into();
    assert!(refusal(&nodes).contains("does not say which file system is mounted on /scratch/demo"));
    nodes[0].holdings.truncate(1);
    assert!(refusal(&nodes).contains("nothing of it mounted"), "{}", refusal(&nodes));
    nodes[0].holdings[0].filesystem = FilesystemKind::None.into();
    let placement = one(&nodes).placement;
    assert_eq!(
        (placement.filesystem(), placement.mount_point.as_str()),
        (FilesystemKind::None, "")
    );
}

/// The same, of a job's pool: mounted on these nodes beside its head, and let in on those.
fn of_job(mut nodes: Vec<Inventory>, clients: &[&str], admitted: &[&str]) -> Option<Job> {
    for name in clients.iter().chain(admitted) {
        if !nodes.iter().any(|node| node.node == *name) {
            nodes.push(Inventory { node: (*name).to_owned(), ..Inventory::default() });
        }
    }
    for node in &mut nodes {
        let is_of = |list: &[&str]| list.contains(&node.node.as_str());
        let kinds = [(HoldingKind::ShareMount, clients), (HoldingKind::Job, admitted)];
        let more = kinds.into_iter().filter(|(_, list)| is_of(list));
        let more: Vec<Holding> = more.map(|(kind, _)| holding(3, kind)).collect();
        node.holdings.extend(more);
        let ids = node.holdings.iter_mut().filter_map(|holding| holding.pool.as_mut());
        ids.for_each(|id| "job-7-2".clone_into(&mut id.name));
    }
    one(&nodes).spec.job
}

#[test]
fn a_jobs_pool_is_its_jobs_again() {
    assert_eq!(one(&stripe(3, 3)).spec.job, None);
    let told = |clients: &[&str], admitted: &[&str]| {
        let job = of_job(stripe(3, 3), clients, admitted).unwrap();
        assert_eq!((job.id.unwrap().job, job.run), (7, 2));
        (job.nodes, job.outside)
    };
    // Donors n2 and n3 are none of the job's nodes, or are.
    assert_eq!(told(&["n4"], &["n1", "n4"]), ("n[1,4]".to_owned(), true));
    assert_eq!(told(&["n2", "n3"], &["n1"]), ("n[1-3]".to_owned(), false));
    // Not let in yet; and a head that serves it alone.
    assert_eq!(told(&["n4"], &[]), ("n[1,4]".to_owned(), true));
    assert_eq!(told(&["n4"], &["n4"]), ("n4".to_owned(), true));
}

#[test]
fn what_the_store_knows_is_left_alone() {
    let nodes = stripe(3, 3);
    let survey = survey(&Vec::from_iter(&nodes), |_| false, &BTreeMap::new(), 1);
    assert_eq!(survey, Survey::default());
}

proptest! {
    /// Whatever is held: no pool is recorded that could not work, and each assembly found is
    /// either recorded, refused with a reason, or memory of one that is.
    #[test]
    fn only_pools_that_work_are_taken_over(
        kind in 0..4usize, states in prop::collection::vec(1..6i32, 1..8), gone in 0..10usize
    ) {
        let redundancy = [
            Redundancy::None, Redundancy::Mirror, Redundancy::Parity, Redundancy::DoubleParity,
        ][kind];
        let name = |at: usize| format!("n{}", at + 2);
        let members = states.iter().enumerate().map(|(at, state)| {
            let state = MemberState::try_from(*state).unwrap();
            let of = if state == MemberState::Missing { String::new() } else { name(at) };
            member(&of, state)
        });
        let mut nodes = vec![head("n1", 3, redundancy, members.collect())];
        nodes.extend((0..states.len()).filter(|at| *at != gone).map(|at| donor(&name(at), 3, 3)));
        let survey = look(&nodes);
        prop_assert_eq!(survey.pools.len() + survey.refused.len(), 1);
        for record in survey.pools {
            let width = record.placement.pieces.len();
            prop_assert!(survives(redundancy, width, |place| record.lacking.contains(&place)));
            prop_assert!(record.lacking.len() <= width);
            if redundancy == Redundancy::None || bears(redundancy) == 0 {
                prop_assert!(record.lacking.is_empty());
            }
            let all = record.placement.pieces.iter().chain(&record.placement.spares);
            let donors: BTreeSet<&str> = all.clone().map(|piece| piece.donor.as_str()).collect();
            prop_assert_eq!(donors.len(), all.count());
            prop_assert!(donors.iter().all(|donor| !donor.is_empty()));
        }
    }
}
