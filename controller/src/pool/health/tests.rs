use std::sync::Arc;

use proptest::prelude::*;
use rampool_proto::v1::{Holding, HoldingKind, Inventory, Placement, PoolId, PoolSpec, Redundancy};

use super::*;
use crate::nodes::{Contact, Known};
use crate::planner::redundancy::bears;
use crate::pool::health::{have_all, waited_for};
use crate::pool::record::{Replacing, samples};

const NOW: u64 = 1_000_000;

fn piece(donor: &str) -> Piece {
    Piece { donor: donor.into(), bytes: 7, ..Piece::default() }
}

fn serial(donor: &str) -> String {
    format!("serial-{donor}")
}

/// demo.3 on n1, with these donors and spares.
fn record(redundancy: Redundancy, donors: &[&str], spares: &[&str]) -> PoolRecord {
    let all = || donors.iter().chain(spares);
    PoolRecord {
        spec: PoolSpec {
            auto_replace: Some(redundancy != Redundancy::None),
            ..PoolSpec::default()
        },
        placement: Placement {
            head: "n1".into(),
            redundancy: redundancy.into(),
            pieces: donors.iter().map(|donor| piece(donor)).collect(),
            spares: spares.iter().map(|donor| piece(donor)).collect(),
            mount_point: "/rampool/demo".into(),
            ..Placement::default()
        },
        boot_ids: all().map(|donor| ((*donor).to_owned(), "boot".to_owned())).collect(),
        serials: all().map(|donor| ((*donor).to_owned(), serial(donor))).collect(),
        ..samples::ready("demo.3")
    }
}

/// The nodes of a pool, as they say they are.
#[derive(Clone)]
struct World(BTreeMap<String, Known>);

impl World {
    /// All is well with `record`.
    fn of(record: &PoolRecord) -> Self {
        let id = PoolId::from(&record.assembly);
        let holding = |kind: HoldingKind| Holding {
            pool: Some(id.clone()),
            kind: kind.into(),
            ..Holding::default()
        };
        let mut nodes = BTreeMap::new();
        for piece in record.members() {
            let held = vec![holding(HoldingKind::Ramdisk), holding(HoldingKind::Export)];
            nodes.insert(piece.donor.clone(), known(&piece.donor, held));
        }
        let member = |piece: &Piece, state: MemberState| Member {
            serial: serial(&piece.donor),
            donor: piece.donor.clone(),
            state: state.into(),
        };
        let pieces = record.placement.pieces.iter().map(|p| member(p, MemberState::InSync));
        let spares = record.placement.spares.iter().map(|p| member(p, MemberState::Spare));
        let health = VolumeHealth {
            layout: VolumeLayout::Md.into(),
            members: pieces.chain(spares).collect(),
            ..VolumeHealth::default()
        };
        let volume = Holding { health: Some(health), ..holding(HoldingKind::Volume) };
        let mut held = vec![volume, holding(HoldingKind::Mount)];
        held.extend(record.members().map(|piece| Holding {
            donor: piece.donor.clone(),
            detail: "LOGGED_IN".into(),
            ..holding(HoldingKind::Session)
        }));
        nodes.insert("n1".into(), known("n1", held));
        Self(nodes)
    }

    fn change(&mut self, node: &str, change: impl FnOnce(&mut Inventory)) {
        let known = self.0.get_mut(node).unwrap();
        let mut inventory = Inventory::clone(known.inventory.as_ref().unwrap());
        change(&mut inventory);
        known.inventory = Some(Arc::new(inventory));
    }

    fn reboot(&mut self, node: &str) {
        self.change(node, |inventory| {
            inventory.boot_id = "another".into();
            inventory.holdings.clear();
        });
    }

    fn silence(&mut self, node: &str) {
        let contact = Contact::Unreachable { why: "no heartbeat".into(), since_ms: NOW };
        self.0.get_mut(node).unwrap().contact = contact;
    }

    fn session(&mut self, donor: &str, state: &str) {
        self.change("n1", |inventory| {
            let of_donor = |h: &&mut Holding| h.kind() == HoldingKind::Session && h.donor == donor;
            inventory.holdings.iter_mut().find(of_donor).unwrap().detail = state.into();
        });
    }

    fn members(&mut self, change: impl FnOnce(&mut Vec<Member>)) {
        self.change("n1", |inventory| {
            let health = inventory.holdings.iter_mut().find_map(|h| h.health.as_mut());
            change(&mut health.unwrap().members);
        });
    }

    /// The volume's member in this place.
    fn member(&mut self, at: usize, state: MemberState) {
        self.members(|members| members[at].state = state.into());
    }

    fn break_volume(&mut self) {
        self.change("n1", |inventory| {
            let health = inventory.holdings.iter_mut().find_map(|h| h.health.as_mut());
            health.unwrap().broken = true;
        });
    }

    fn knows(&self) -> impl Fn(&str) -> Option<Known> + '_ {
        |name| self.0.get(name).cloned()
    }

    fn verdict(&self, watched: &mut Watched, record: &PoolRecord, at: u64) -> Verdict {
        watched.verdict(record, &self.knows(), at)
    }
}

fn known(name: &str, holdings: Vec<Holding>) -> Known {
    Known {
        name: name.into(),
        contact: Contact::Reachable { since_ms: 1 },
        inventory: Some(Arc::new(Inventory {
            node: name.into(),
            boot_id: "boot".into(),
            holdings,
            ..Inventory::default()
        })),
        last_seen_ms: NOW,
    }
}

fn now(record: &PoolRecord, world: &World) -> Verdict {
    world.verdict(&mut Watched::default(), record, NOW)
}

fn stripe() -> (PoolRecord, World) {
    let record = record(Redundancy::None, &["n2", "n3"], &[]);
    let world = World::of(&record);
    (record, world)
}

#[test]
fn a_volume_that_lost_all_at_once_stays_failed_when_they_are_back() {
    let record = record(Redundancy::Mirror, &["n2", "n3"], &[]);
    let mut world = World::of(&record);
    // A member without its place yet is no spare: the pool is degraded.
    world.member(1, MemberState::Spare);
    assert_eq!(conditions(&record, &world.knows())[1], Condition::Rebuilding);
    assert_eq!(now(&record, &world), Verdict::Wait);
    world.break_volume();
    assert_eq!(now(&record, &world), Verdict::Failed(BROKEN.into()));
}

#[test]
fn a_stripe_that_was_waited_for_in_vain_stays_failed_when_all_are_back() {
    let (record, mut world) = stripe();
    world.break_volume();
    assert_eq!(now(&record, &world), Verdict::Failed(WAITED_IN_VAIN.into()));
}

#[test]
fn a_stripe_has_failed_once_it_is_known_that_a_donor_lost_its_memory() {
    let (record, mut world) = stripe();
    assert_eq!(now(&record, &world), Verdict::Well);
    world.reboot("n3");
    let failed = Verdict::Failed("n3 lost its memory: the node was booted anew".into());
    assert_eq!(now(&record, &world), failed);
    let (record, mut world) = stripe();
    world.change("n3", |inventory| drop(inventory.holdings.pop()));
    let failed = Verdict::Failed("n3 lost its memory: the node no longer exports it".into());
    assert_eq!(now(&record, &world), failed);
}

#[test]
fn a_stripe_waits_for_a_silent_donor_until_its_patience_ends() {
    let (record, mut world) = stripe();
    world.silence("n3");
    world.session("n3", "FAILED");
    assert_eq!(now(&record, &world), Verdict::Wait);
    assert_eq!(conditions(&record, &world.knows())[1].words().0, "cut off");
    world.session("n3", "FREE");
    let failed = Verdict::Failed("n3 faulty: the head's session is FREE".into());
    assert_eq!(now(&record, &world), failed);
    let (record, mut world) = stripe();
    // Its disk is gone, and with it the serial.
    world.members(|members| {
        members[1] = Member { state: MemberState::Faulty.into(), ..Member::default() };
    });
    assert!(matches!(now(&record, &world), Verdict::Failed(why) if why.starts_with("n3 faulty")));
}

#[test]
fn a_donor_is_waited_for_in_vain_where_neither_the_head_nor_anybody_else_hears_of_it() {
    let (record, mut world) = stripe();
    assert_eq!(waited_for(&record, &world.knows()), None);
    world.silence("n3");
    assert_eq!(waited_for(&record, &world.knows()), None, "its agent alone serves no data");
    world.session("n3", "FAILED");
    assert_eq!(waited_for(&record, &world.knows()), Some("n3"));
    world.silence("n1");
    assert_eq!(waited_for(&record, &world.knows()), None, "nobody says that it is waited for");
    let (record, mut world) = stripe();
    world.session("n3", "FAILED");
    assert_eq!(waited_for(&record, &world.knows()), None, "it may be back any moment");
    let record = self::record(Redundancy::Mirror, &["n2", "n3"], &[]);
    let mut world = World::of(&record);
    world.silence("n3");
    world.session("n3", "FAILED");
    assert_eq!(waited_for(&record, &world.knows()), None, "the other has all");
}

#[test]
fn a_head_that_is_silent_or_was_booted_anew_does_not_make_the_data_lost() {
    let (record, mut world) = stripe();
    world.silence("n1");
    assert_eq!(now(&record, &world), Verdict::Well);
    let (record, mut world) = stripe();
    world.reboot("n1");
    assert_eq!(now(&record, &world), Verdict::Well);
}

#[test]
fn a_move_of_a_stripes_piece_may_end_before_the_record_says_so() {
    let (mut record, _) = stripe();
    let new = piece("n4");
    record.serials.insert("n4".into(), serial("n4"));
    record.phase = Phase::Replacing(Replacing {
        slot: 1,
        new,
        from_spare: false,
        copying: true,
        trouble: None,
    });
    let mut world = World::of(&record);
    world.members(|members| members[1].serial = serial("n4"));
    assert_eq!(now(&record, &world), Verdict::Wait);
    world.silence("n4");
    assert_eq!(now(&record, &world), Verdict::Wait, "its agent may be silent meanwhile");
    world.members(|members| members[1].serial = "another".into());
    assert!(matches!(now(&record, &world), Verdict::Failed(_)), "neither old nor new is there");
}

fn mirror(spares: &[&str]) -> (PoolRecord, World) {
    let record = record(Redundancy::Mirror, &["n2", "n3", "n4", "n5"], spares);
    let world = World::of(&record);
    (record, world)
}

#[test]
fn what_lost_its_memory_is_replaced_at_once_and_who_is_silent_after_the_grace() {
    let any = |slot| Verdict::Replace { slot, spare: None };
    let (record, mut world) = mirror(&[]);
    world.reboot("n3");
    assert_eq!(now(&record, &world), any(1));
    let (mut record, mut world) = mirror(&[]);
    world.silence("n3");
    world.session("n3", "FREE");
    world.member(1, MemberState::Faulty);
    let mut watched = Watched::default();
    assert_eq!(world.verdict(&mut watched, &record, NOW), Verdict::Wait);
    assert_eq!(world.verdict(&mut watched, &record, NOW + GRACE_MS - 1), Verdict::Wait);
    assert_eq!(world.verdict(&mut watched, &record, NOW + GRACE_MS), any(1));
    record.spec.auto_replace = Some(false);
    assert_eq!(world.verdict(&mut watched, &record, NOW + GRACE_MS), Verdict::Wait);
}

#[test]
fn who_was_only_cut_off_is_taken_back_unless_the_head_refused() {
    let (record, mut world) = mirror(&[]);
    world.member(1, MemberState::Faulty);
    let mut watched = Watched::default();
    assert_eq!(world.verdict(&mut watched, &record, NOW), Verdict::Readd);
    watched.readd_refused(&record.assembly);
    let replace = Verdict::Replace { slot: 1, spare: None };
    assert_eq!(world.verdict(&mut watched, &record, NOW), replace);
    world.member(1, MemberState::Rebuilding);
    assert_eq!(world.verdict(&mut watched, &record, NOW), Verdict::Wait);
    world.member(1, MemberState::InSync);
    assert_eq!(world.verdict(&mut watched, &record, NOW), Verdict::Well);
    world.member(1, MemberState::Faulty);
    assert_eq!(world.verdict(&mut watched, &record, NOW), Verdict::Readd, "a new story");
}

#[test]
fn a_spare_takes_a_lost_ones_place_also_by_itself() {
    let (mut record, mut world) = mirror(&["n6"]);
    record.spec.auto_replace = Some(false);
    assert_eq!(now(&record, &world), Verdict::Well);
    let by_spare = Verdict::Replace { slot: 1, spare: Some("n6".into()) };
    world.reboot("n3");
    assert_eq!(now(&record, &world), by_spare, "md has not noticed yet");
    let (_, mut world) = mirror(&["n6"]);
    world.silence("n3");
    world.members(|members| {
        members.swap(1, 4);
        members[1].state = MemberState::Rebuilding.into();
        members[4].state = MemberState::Faulty.into();
    });
    assert_eq!(now(&record, &world), by_spare);
    world.members(|members| drop(members.pop()));
    world.member(1, MemberState::InSync);
    assert_eq!(now(&record, &world), by_spare);
}

#[test]
fn more_lost_than_is_borne_fails_the_pool_and_names_them() {
    let (record, mut world) = mirror(&[]);
    world.reboot("n2");
    world.reboot("n4");
    assert!(matches!(now(&record, &world), Verdict::Replace { slot: 0, .. }), "one of each pair");
    world.reboot("n3");
    let Verdict::Failed(why) = now(&record, &world) else { panic!("n2 and n3 were a pair") };
    assert!(why.contains("n2 lost") && why.contains("n3 lost"), "{why}");
    let (mut record, mut world) = mirror(&[]);
    record.lacking.insert(0);
    world.silence("n1");
    assert_eq!(now(&record, &world), Verdict::Wait, "only the head could repair");
    world.reboot("n3");
    assert!(matches!(now(&record, &world), Verdict::Failed(_)));
}

#[test]
fn a_donor_begins_anew_only_where_its_memory_is_lost_its_head_knows_and_the_pool_bears_it() {
    let (mut record, mut world) = mirror(&[]);
    let may = |record: &PoolRecord, world: &World| may_begin_anew(record, 1, &world.knows());
    assert!(!may(&record, &world), "all is well");
    world.reboot("n3");
    assert!(!may(&record, &world), "the head counts on it yet");
    world.member(1, MemberState::Faulty);
    assert!(may(&record, &world));
    world.member(2, MemberState::Faulty);
    assert!(may(&record, &world), "of the other pair");
    world.member(0, MemberState::Rebuilding);
    assert!(!may(&record, &world), "nothing is left of its pair");
    world.member(0, MemberState::InSync);
    world.silence("n1");
    assert!(!may(&record, &world), "nobody knows what the head sees");
    let (_, mut world) = mirror(&[]);
    world.member(1, MemberState::Faulty);
    assert!(!may(&record, &world), "it was only cut off");
    record.lacking.insert(1);
    assert!(may(&record, &world), "it was left out before");
    let (record, mut world) = stripe();
    world.reboot("n3");
    assert!(!may_begin_anew(&record, 1, &world.knows()), "a stripe bears nothing");
}

#[test]
fn a_spare_whose_donor_lost_the_memory_is_lost_unless_it_fills_a_place() {
    let lost = |record: &PoolRecord, world: &World| lost_spare(record, &world.knows());
    let (mut record, mut world) = mirror(&["n6", "n7"]);
    assert_eq!(lost(&record, &world), None);
    world.silence("n6");
    assert_eq!(lost(&record, &world), None, "it may be back with what it has");
    world.reboot("n7");
    assert_eq!(lost(&record, &world), Some(("n7".into(), "the node was booted anew".into())));
    assert_ne!(now(&record, &world), Verdict::Well);
    let (_, mut world) = mirror(&["n6", "n7"]);
    world.change("n7", |inventory| drop(inventory.holdings.pop()));
    let why = "the node no longer exports it";
    assert_eq!(lost(&record, &world), Some(("n7".into(), why.into())));
    world.silence("n1");
    assert_eq!(lost(&record, &world), None, "only its head can let go of it");
    let (_, mut world) = mirror(&["n6", "n7"]);
    world.reboot("n7");
    world.member(5, MemberState::Rebuilding);
    assert_eq!(lost(&record, &world), None, "it is mended as a member is");
    world.member(5, MemberState::Faulty);
    record.phase = Phase::Creating;
    assert_eq!(lost(&record, &world), None);
}

#[test]
fn who_kept_its_memory_has_all_where_the_head_counted_on_it_after_the_others_were_lost() {
    let all = |record: &PoolRecord, world: &World| {
        have_all(record, &[1].into(), &[0].into(), &world.knows())
    };
    let reached = |world: &mut World, node: &str, since_ms: u64| {
        world.0.get_mut(node).unwrap().contact = Contact::Reachable { since_ms };
    };
    let record = record(Redundancy::Mirror, &["n2", "n3"], &[]);
    let begin = || {
        let mut world = World::of(&record);
        world.reboot("n2");
        reached(&mut world, "n2", NOW);
        world
    };
    let mut world = begin();
    assert!(!all(&record, &world), "n3 may have been given up before n2 was lost");
    reached(&mut world, "n2", NOW - 10_000);
    assert!(all(&record, &world), "when the head last spoke, n2 was lost already");
    world.silence("n1");
    assert!(all(&record, &world), "it said so before it fell silent");
    let mut world = begin();
    world.member(0, MemberState::Faulty);
    assert!(all(&record, &world), "from then on n3 is the last copy");
    world.member(1, MemberState::Rebuilding);
    assert!(!all(&record, &world));
    world.member(1, MemberState::InSync);
    world.change("n1", |inventory| {
        let health = inventory.holdings.iter_mut().find_map(|h| h.health.as_mut());
        health.unwrap().broken = true;
    });
    assert!(!all(&record, &world), "writes failed on both");
    let mut world = begin();
    world.member(0, MemberState::Faulty);
    world.reboot("n1");
    assert!(!all(&record, &world), "it was booted anew: what it said before is not known");
    let mut world = World::of(&record);
    world.change("n2", |inventory| inventory.holdings.clear());
    assert!(!all(&record, &world), "nobody knows when its memory went");
}

#[test]
fn what_was_looked_up_before_the_pool_was_ready_says_nothing_of_its_memory() {
    let (mut record, mut world) = stripe();
    record.ready_ms = NOW - 1;
    world.change("n3", |inventory| inventory.holdings.clear());
    assert_eq!(now(&record, &world), Verdict::Well);
    record.ready_ms = NOW - 2000;
    assert!(matches!(now(&record, &world), Verdict::Failed(_)));
}

#[test]
fn a_pool_that_is_made_failed_or_taken_down_has_no_health() {
    let (mut record, mut world) = stripe();
    world.reboot("n3");
    record.phase = Phase::Creating;
    assert_eq!(now(&record, &world), Verdict::Well);
}

proptest! {
    /// Whatever is lost: with redundancy no more than is borne never fails a pool, and a pool
    /// that cannot work is never called well.
    #[test]
    fn the_verdict_is_failed_exactly_when_too_much_is_lost(
        kind in 0..4usize, lost in prop::collection::vec(0..4u8, 6), head in 0..3u8, at in 0..3u64
    ) {
        let redundancy = [
            Redundancy::None, Redundancy::Mirror, Redundancy::Parity, Redundancy::DoubleParity,
        ][kind];
        let donors = ["n2", "n3", "n4", "n5", "n6", "n7"];
        let record = record(redundancy, &donors, &[]);
        let mut world = World::of(&record);
        for (place, what) in lost.iter().enumerate() {
            match what {
                1 => world.reboot(donors[place]),
                2 => world.member(place, MemberState::Faulty),
                // Its agent alone is silent: nothing is lost.
                3 => world.silence(donors[place]),
                _ => {}
            }
        }
        match head {
            1 => world.silence("n1"),
            2 => world.reboot("n1"),
            _ => {}
        }
        // Without the head only the donors can tell.
        let is_lost = |place: usize| lost[place] == 1 || (lost[place] == 2 && head == 0);
        let mut watched = Watched::default();
        let first = world.verdict(&mut watched, &record, NOW);
        let verdict = world.verdict(&mut watched, &record, NOW + at * GRACE_MS);
        let works = survives(redundancy, donors.len(), is_lost);
        prop_assert_eq!(!works, matches!(verdict, Verdict::Failed(_)), "{:?}", verdict);
        prop_assert_eq!(!works, matches!(first, Verdict::Failed(_)), "{:?}", first);
        let count = (0..donors.len()).filter(|place| is_lost(*place)).count();
        if count <= bears(redundancy) {
            prop_assert!(works);
        }
        if count > 0 {
            prop_assert_ne!(&verdict, &Verdict::Well);
        }
        if let Verdict::Replace { slot, spare } = verdict {
            prop_assert!(head == 0 && is_lost(slot) && spare.is_none());
        }
    }
}
