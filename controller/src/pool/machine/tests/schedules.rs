//! Random orders of steps, crashes, duplicates, delays, lost replies and lost nodes.

use proptest::prelude::*;
use rampool_proto::v1::Redundancy;

use super::super::*;
use super::world::{Begun, NODES, World};

fn act(world: &mut World, what: u8, pick: usize) {
    let node = NODES[pick % NODES.len()];
    let insists = pick.is_multiple_of(7);
    match what % 49 {
        0..=16 => world.deliver(pick, pick.is_multiple_of(5)),
        17 => world.lose(pick / 2, pick.is_multiple_of(2)),
        18 | 19 => world.delay(pick),
        20 => {
            if let Some(call) = World::take(&mut world.late, pick) {
                _ = world.carry_out(&call);
            }
        }
        21 => world.crash(pick),
        22 | 23 => world.nodes.node(node).alive ^= true,
        24 if pick.is_multiple_of(3) => world.reboot(NODES[pick / 3 % NODES.len()]),
        25 => world.input(Input::Down { force: pick.is_multiple_of(4) }),
        26 => world.nodes.node(node).mount_in_use ^= true,
        27 | 28 => world.input(Input::Retry),
        29 | 30 => world.up_again(),
        31 => world.store_refuses |= pick.is_multiple_of(4),
        32 => world.sweep(),
        33 | 34 => world.begin_replace(pick % 4, NODES[pick / 4 % NODES.len()]),
        35 | 36 => world.begin_failover(node, insists),
        37 if pick.is_multiple_of(3) => world.input(Input::Fail("a donor is lost".into())),
        38 => world.input(Input::Readd),
        39..=41 => world.begin_anew(pick % 4),
        42 => world.reboot(NODES[1 + pick % 4]),
        43 => world.give_up_spare(pick),
        44 => world.give_up_lost_spares(),
        45 => world.share_again(),
        46 | 47 => world.give(pick.is_multiple_of(2)),
        _ => {}
    }
}

/// Whatever happened, once all is well again the nodes hold what the record says.
fn check_end(world: &World) {
    let record = world.record();
    let excuses = &world.excuses;
    match world.machine.state() {
        State::Released(_) => {
            let held = world.nodes.held();
            assert!(held.is_empty(), "{held:?}");
        }
        State::Creating { .. } | State::Releasing(_) => panic!("it ends in {:?}", record.phase),
        // Where too much is lost, or a mount, only a person can say what is next.
        _ if excuses.data_lost || (excuses.failed && excuses.head_forced) => {}
        State::Ready | State::Failed(_) => check_in_use(world),
        State::Reserved => check_reserved(world),
        // One that had failed comes up whole, or when a person insists.
        State::FailingOver(over) if over.failed.is_some() && !over.force => {
            let there = |piece: &rampool_proto::v1::Piece| {
                world.nodes.has(&piece.donor, &record.carved(piece))
            };
            let whole = record.live().all(|number| there(record.member(number)));
            assert!(!whole, "it ends in {:?}, {:?}", record.phase, world.machine.refusal());
        }
        State::Replacing(_) | State::FailingOver(_) => {
            let lacks = !record.lacking.is_empty();
            assert!(lacks, "it ends in {:?}, {:?}", record.phase, world.machine.refusal());
        }
    }
    if !excuses.record_lost {
        assert_eq!(*record, world.stored);
    }
}

/// Its donors have its memory, unless they lost it: then they take it anew when it is given.
fn check_reserved(world: &World) {
    let record = world.record();
    assert!(record.awaits_nodes() && record.debts.is_empty());
    for node in NODES {
        let lends = world.nodes.lends(node);
        let is_donor = record.members().any(|piece| piece.donor == node);
        let wanted = format!("{0} of {0}", record.assembly);
        assert!(lends.is_empty() || is_donor && lends == [wanted].into(), "{node}: {lends:?}");
        assert!(is_donor || !world.nodes.has_head(node), "{node} heads {:?}", record.assembly);
    }
}

fn check_in_use(world: &World) {
    let record = world.record();
    let (head, stragglers) = (&record.placement.head, world.excuses.stragglers);
    let failed = matches!(record.phase, Phase::Failed(_));
    if record.phase == Phase::Ready {
        assert!(record.debts.is_empty() || stragglers, "owed for ever: {:?}", record.debts);
        assert!(world.nodes.is_mounted(head, &record.assembly), "Ready, yet not mounted");
        for client in &record.placement.clients {
            let there = world.nodes.mounts_share(&client.node, &record.assembly);
            assert!(there, "Ready, yet not mounted on {}", client.node);
        }
    }
    let live: Vec<_> = record.live().map(|number| record.member(number)).collect();
    for node in NODES {
        let lends = world.nodes.lends(node);
        let piece = live.iter().find(|piece| piece.donor == node);
        let wanted = piece.map(|piece| format!("{} of {}", record.assembly, record.carved(piece)));
        match wanted {
            // One that was lost in a change of heads is a faulty member until it is replaced.
            Some(_)
                if record.formed != 0 && !world.nodes.has_session(head, &record.assembly, node) => {
            }
            // Nobody mends a failed pool.
            Some(_) if lends.is_empty() && failed => {}
            Some(wanted) => assert_eq!(lends, [wanted].into(), "{node}"),
            None if world.owed_by(node) => {}
            // What came late to the head itself, or with a session of it, goes with the pool.
            None if stragglers && node == head => {}
            None if stragglers && world.nodes.has_session(head, &record.assembly, node) => {}
            None => assert!(lends.is_empty(), "{node} lends {lends:?} for nothing: {record:#?}"),
        }
    }
}

fn any_redundancy() -> impl Strategy<Value = Redundancy> {
    prop_oneof![
        Just(Redundancy::None),
        Just(Redundancy::Mirror),
        Just(Redundancy::Parity),
        Just(Redundancy::DoubleParity)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn any_order_of_faults_ends_with_nothing_held_but_what_the_record_says(
        actions in prop::collection::vec((any::<u8>(), any::<u16>()), 0..150),
        begin_ready in any::<bool>(),
        redundancy in any_redundancy(),
        way in prop_oneof![Just(Begun::Alone), Just(Begun::Shared), Just(Begun::Reserved)],
    ) {
        let mut world = World::new(redundancy, way);
        if begin_ready {
            world.run_quietly();
        }
        for (what, pick) in actions {
            act(&mut world, what, usize::from(pick));
        }
        world.heal();
        check_end(&world);
    }
}

#[test]
fn down_does_not_wait_for_a_copy_and_frees_what_was_about_to_join() {
    let mut world = World::ready(Redundancy::Mirror);
    world.begin_replace(1, "n6");
    world.deliver(0, false);
    world.deliver(0, false);
    assert_eq!(world.in_flight[0].step, Step::ReplaceMember);
    world.input(Input::Down { force: false });
    world.run_quietly();
    assert!(world.record().is_released(), "{:?}", world.record().phase);
    assert!(world.nodes.held().is_empty(), "{:?}", world.nodes.held());
}

#[test]
fn a_reserved_pool_has_no_head_and_becomes_one_when_it_is_given() {
    for shared in [false, true] {
        let mut world = World::new(Redundancy::None, Begun::Reserved);
        world.run_quietly();
        assert_eq!(world.stored.phase, Phase::Reserved);
        check_end(&world);
        let asked: Vec<_> = world.nodes.held().into_iter().collect();
        assert_eq!(asked, ["n1 demo.1", "n2 demo.1", "n3 demo.1", "n4 demo.1"]);
        world.crash(0);
        assert_eq!(world.stored.phase, Phase::Reserved, "a restart leaves it as it is");
        world.give(shared);
        world.run_quietly();
        assert_eq!(world.stored.phase, Phase::Ready);
        assert_eq!(world.record().is_shared(), shared);
        check_end(&world);
    }
}

#[test]
fn a_reserved_pool_that_is_given_to_a_lost_head_goes_with_all_of_its_memory() {
    let mut world = World::new(Redundancy::None, Begun::Reserved);
    world.run_quietly();
    world.nodes.node("n0").alive = false;
    world.give(false);
    world.run_quietly();
    let held = world.nodes.held();
    assert!(held.is_empty(), "{held:?}");
    world.heal();
    assert!(world.record().is_released(), "{:?}", world.record().phase);
}
