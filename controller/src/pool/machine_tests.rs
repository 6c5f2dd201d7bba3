//! The machine against a plain model of nodes, under random orders of faults. The model is a
//! stand-in for kernels in this test alone.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::pool::record::Phase;

const DONORS: usize = 3;
/// The head's number among the nodes; donors are 0 to `DONORS - 1`.
const HEAD: usize = DONORS;

type Generation = u32;

/// What all nodes' kernels hold, by generation.
#[derive(Default)]
struct ModelNodes {
    exports: [BTreeSet<Generation>; DONORS],
    sessions: BTreeSet<Generation>,
    volumes: BTreeSet<Generation>,
    mounts: BTreeSet<Generation>,
    mount_in_use: bool,
    unreachable: [bool; DONORS + 1],
}

fn node_of(step: Step) -> usize {
    match step {
        Step::CreateExport(donor) | Step::DestroyExport(donor) => donor,
        _ => HEAD,
    }
}

fn fail(kind: FailureKind, said: &str) -> Result<(), Failure> {
    Err(Failure::new(kind, "model").saying(said))
}

impl ModelNodes {
    fn carry_out(
        &mut self,
        generation: Generation,
        step: Step,
        force: bool,
    ) -> Result<(), Failure> {
        if self.unreachable[node_of(step)] {
            return fail(FailureKind::NotNow, "unreachable");
        }
        match step {
            Step::CreateExport(donor) => _ = self.exports[donor].insert(generation),
            Step::Attach => {
                if (0..DONORS)
                    .any(|d| !self.exports[d].contains(&generation) || self.unreachable[d])
                {
                    return fail(FailureKind::Failed, "no such target");
                }
                self.sessions.insert(generation);
            }
            Step::AssembleVolume => {
                if !self.sessions.contains(&generation) {
                    return fail(FailureKind::Failed, "no disks");
                }
                self.volumes.insert(generation);
            }
            Step::MakeFilesystem | Step::Mount if !self.volumes.contains(&generation) => {
                return fail(FailureKind::Failed, "no volume");
            }
            Step::Mount => _ = self.mounts.insert(generation),
            Step::Unmount => {
                if self.mount_in_use && !force && self.mounts.contains(&generation) {
                    return fail(FailureKind::Busy, "in use");
                }
                self.mounts.remove(&generation);
            }
            Step::StopVolume => {
                if self.mounts.contains(&generation) {
                    return fail(FailureKind::Conflict, "mounted");
                }
                self.volumes.remove(&generation);
            }
            Step::Detach => {
                if self.volumes.contains(&generation) {
                    return fail(FailureKind::Conflict, "in a volume");
                }
                self.sessions.remove(&generation);
            }
            Step::DestroyExport(donor) => {
                if self.sessions.contains(&generation) && !force {
                    return fail(FailureKind::Conflict, "a session is logged in");
                }
                self.exports[donor].remove(&generation);
            }
            Step::CheckHead | Step::MakeFilesystem => {}
        }
        Ok(())
    }

    fn reboot(&mut self, node: usize) {
        if node == HEAD {
            self.sessions.clear();
            self.volumes.clear();
            self.mounts.clear();
            self.mount_in_use = false;
        } else {
            self.exports[node].clear();
        }
    }

    fn held(&self) -> BTreeSet<Generation> {
        let donors = self.exports.iter().flatten();
        donors.chain(&self.sessions).chain(&self.volumes).chain(&self.mounts).copied().collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    generation: Generation,
    step: Step,
    force: bool,
}

/// A controller and its nodes.
struct World {
    nodes: ModelNodes,
    generation: Generation,
    machine: Machine,
    stored: Phase,
    released: BTreeSet<Generation>,
    in_flight: Vec<InFlight>,
    /// Given up by the controller, yet still on the way to a node.
    late: Vec<InFlight>,
    store_refuses: bool,
    was_ready: bool,
    person_forced: bool,
    /// Since this generation was begun: whether a node lost what it held, or a record that is
    /// not vital was not written. Either excuses what is checked at the end.
    node_rebooted: bool,
    record_lost: bool,
    /// Whether a call of this generation may yet be carried out behind the machine's back.
    stragglers: bool,
}

impl World {
    fn new() -> Self {
        let creating = State::Creating { trouble: None };
        let mut world = Self {
            nodes: ModelNodes::default(),
            generation: 1,
            machine: Machine::new(DONORS, true, creating),
            stored: Phase::Creating,
            released: BTreeSet::new(),
            in_flight: Vec::new(),
            late: Vec::new(),
            store_refuses: false,
            was_ready: false,
            person_forced: false,
            node_rebooted: false,
            record_lost: false,
            stragglers: false,
        };
        world.input(Input::Begin);
        world
    }

    fn input(&mut self, input: Input) {
        let commands = self.machine.on(input);
        for command in commands {
            match command {
                Command::Record { vital } => {
                    if std::mem::take(&mut self.store_refuses) {
                        if vital {
                            let failure = Failure::new(FailureKind::Failed, "write the store");
                            return self.input(Input::StoreFailed(failure));
                        }
                        self.record_lost = true;
                    } else {
                        self.record();
                    }
                }
                Command::Call { step, force } => {
                    self.in_flight.push(InFlight { generation: self.generation, step, force });
                }
            }
        }
    }

    fn record(&mut self) {
        self.stored = Phase::of(self.machine.state());
        match self.stored {
            Phase::Ready => self.was_ready = true,
            Phase::Released(_) => {
                self.released.insert(self.generation);
                let held = self.nodes.held();
                assert!(
                    self.stragglers || !held.contains(&self.generation),
                    "Released, yet nodes hold it"
                );
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, call: InFlight) -> Result<(), Failure> {
        let frees = matches!(call.step, Step::DestroyExport(_));
        let mounted = self.nodes.mounts.contains(&call.generation);
        let result = self.nodes.carry_out(call.generation, call.step, call.force);
        if frees && result.is_ok() && call.generation == self.generation {
            assert!(
                !(mounted && self.was_ready && !self.person_forced),
                "memory under a mounted pool was freed though nobody insisted"
            );
        }
        assert!(self.nodes.mounts.len() <= 1, "two live generations: {:?}", self.nodes.mounts);
        result
    }

    fn answer(&mut self, call: InFlight, result: Result<(), Failure>) {
        if call.generation == self.generation {
            self.input(Input::Reply(call.step, result));
        }
    }

    fn take(list: &mut Vec<InFlight>, pick: usize) -> Option<InFlight> {
        if list.is_empty() { None } else { Some(list.remove(pick % list.len())) }
    }

    fn timed_out() -> Result<(), Failure> {
        fail(FailureKind::TimedOut, "no answer")
    }

    fn act(&mut self, what: u8, pick: usize) {
        match what % 32 {
            0..=14 => {
                if let Some(call) = Self::take(&mut self.in_flight, pick) {
                    let result = self.carry_out(call);
                    self.answer(call, result.clone());
                    if pick.is_multiple_of(5) {
                        self.answer(call, result);
                    }
                }
            }
            15 => {
                if let Some(call) = Self::take(&mut self.in_flight, pick) {
                    // The request is lost, or only the answer.
                    if pick.is_multiple_of(2) {
                        _ = self.carry_out(call);
                    }
                    self.answer(call, Self::timed_out());
                }
            }
            16 | 17 => {
                if let Some(call) = Self::take(&mut self.in_flight, pick) {
                    self.stragglers = true;
                    self.late.push(call);
                    self.answer(call, Self::timed_out());
                }
            }
            18 => {
                if let Some(call) = Self::take(&mut self.late, pick) {
                    _ = self.carry_out(call);
                }
            }
            19 => self.crash(pick),
            20 | 21 => self.nodes.unreachable[pick % (DONORS + 1)] ^= true,
            22 if pick.is_multiple_of(3) => {
                self.nodes.reboot(pick % (DONORS + 1));
                self.node_rebooted = true;
            }
            23 | 24 => {
                let force = pick.is_multiple_of(4);
                self.person_forced |= force;
                self.input(Input::Down { force });
            }
            25 => self.nodes.mount_in_use ^= true,
            26 | 27 => self.input(Input::Retry),
            28 | 29 => self.up_again(),
            30 => {
                if pick.is_multiple_of(4) {
                    self.store_refuses = true;
                }
                self.sweep();
            }
            _ => {}
        }
    }

    fn crash(&mut self, pick: usize) {
        let lost = std::mem::take(&mut self.in_flight);
        self.stragglers |= !lost.is_empty();
        self.late.extend(
            lost.into_iter()
                .enumerate()
                .filter(|(at, _)| (pick >> at) & 1 == 1)
                .map(|(_, call)| call),
        );
        self.machine = Machine::new(DONORS, true, self.stored.to_state(DONORS));
        self.input(Input::Restarted);
    }

    fn up_again(&mut self) {
        if matches!(self.machine.state(), State::Released(_)) && self.machine.settled() {
            self.generation += 1;
            self.machine = Machine::new(DONORS, true, State::Creating { trouble: None });
            self.stored = Phase::Creating;
            self.was_ready = false;
            self.person_forced = false;
            self.node_rebooted = false;
            self.record_lost = false;
            self.stragglers = false;
            self.input(Input::Begin);
        }
    }

    /// What reconciling does with objects of assemblies known to be released.
    fn sweep(&mut self) {
        for generation in
            self.nodes.held().intersection(&self.released).copied().collect::<Vec<_>>()
        {
            for step in [Step::Unmount, Step::StopVolume, Step::Detach] {
                _ = self.nodes.carry_out(generation, step, false);
            }
            for donor in 0..DONORS {
                _ = self.nodes.carry_out(generation, Step::DestroyExport(donor), false);
            }
        }
    }

    /// All nodes answer again, nobody uses the mount, and everything under way arrives.
    fn heal(&mut self) {
        self.nodes.unreachable = [false; DONORS + 1];
        self.nodes.mount_in_use = false;
        self.store_refuses = false;
        while let Some(call) = Self::take(&mut self.late, 0) {
            _ = self.carry_out(call);
        }
        for _ in 0..100 {
            while let Some(call) = Self::take(&mut self.in_flight, 0) {
                let result = self.carry_out(call);
                self.answer(call, result);
            }
            assert!(self.machine.settled(), "calls are awaited that nobody makes");
            self.sweep();
            match self.machine.state() {
                State::Ready | State::Released(_) => break,
                _ => self.input(Input::Retry),
            }
        }
        self.sweep();
    }

    fn check_end(&self) {
        match self.machine.state() {
            State::Ready => {
                let held = self.nodes.held();
                assert!(held.iter().all(|held| *held == self.generation), "{held:?}");
                if !self.node_rebooted {
                    assert!(self.nodes.mounts.contains(&self.generation), "Ready, yet not mounted");
                    let has = |exports: &BTreeSet<_>| exports.contains(&self.generation);
                    assert!(self.nodes.exports.iter().all(has), "Ready, yet a donor holds nothing");
                }
            }
            State::Released(_) => assert!(self.nodes.held().is_empty(), "{:?}", self.nodes.held()),
            other => panic!("it ends in {other:?}"),
        }
        if !self.record_lost {
            assert_eq!(Phase::of(self.machine.state()), self.stored);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn any_order_of_faults_ends_ready_or_released_with_nothing_held(
        actions in prop::collection::vec((any::<u8>(), any::<u16>()), 0..120),
        begin_ready in any::<bool>(),
    ) {
        let mut world = World::new();
        if begin_ready {
            run_quietly(&mut world);
        }
        for (what, pick) in actions {
            world.act(what, usize::from(pick));
        }
        world.heal();
        world.check_end();
    }
}

fn run_quietly(world: &mut World) {
    while !world.in_flight.is_empty() {
        world.act(0, 1);
    }
}

#[test]
fn without_faults_up_is_ready_and_down_releases() {
    let mut world = World::new();
    run_quietly(&mut world);
    assert_eq!(world.stored, Phase::Ready);
    world.input(Input::Down { force: false });
    assert!(matches!(world.stored, Phase::Releasing(_)), "written before the first call");
    run_quietly(&mut world);
    assert_eq!(world.stored, Phase::Released(Cause::Down));
    assert!(world.nodes.held().is_empty());
}

#[test]
fn a_pool_without_file_system_is_ready_once_assembled() {
    let mut machine = Machine::new(1, false, State::Creating { trouble: None });
    let mut commands = machine.on(Input::Begin);
    let mut steps = Vec::new();
    while let Some(Command::Call { step, .. }) = commands.pop() {
        steps.push(step);
        commands = machine.on(Input::Reply(step, Ok(())));
    }
    assert_eq!(steps, [Step::CheckHead, Step::CreateExport(0), Step::Attach, Step::AssembleVolume]);
    assert_eq!(*machine.state(), State::Ready);
}

#[test]
fn a_mount_in_use_refuses_down_and_nothing_else_is_done() {
    let mut world = World::new();
    run_quietly(&mut world);
    world.nodes.mount_in_use = true;
    world.input(Input::Down { force: false });
    run_quietly(&mut world);
    assert_eq!(world.stored, Phase::Ready);
    assert_eq!(world.machine.refusal().unwrap().kind(), FailureKind::Busy);
    assert!(world.nodes.mounts.contains(&1) && world.nodes.exports[0].contains(&1));
    world.input(Input::Down { force: true });
    run_quietly(&mut world);
    assert_eq!(world.stored, Phase::Released(Cause::Down));
}

#[test]
fn an_unreachable_head_keeps_the_donors_memory_until_somebody_insists() {
    let mut world = World::new();
    run_quietly(&mut world);
    world.nodes.unreachable[HEAD] = true;
    world.input(Input::Down { force: false });
    run_quietly(&mut world);
    assert!(world.nodes.exports[0].contains(&1));
    let State::Releasing(release) = world.machine.state() else { panic!("not releasing") };
    assert_eq!(release.remains().len(), 1);
    world.person_forced = true;
    world.input(Input::Down { force: true });
    run_quietly(&mut world);
    assert!(!world.nodes.exports[0].contains(&1));
    assert!(matches!(world.machine.state(), State::Releasing(_)), "the head did not answer yet");
}

#[test]
fn a_failed_check_releases_at_once_for_nothing_was_made() {
    let mut world = World::new();
    world.nodes.unreachable[HEAD] = true;
    run_quietly(&mut world);
    assert!(matches!(world.stored, Phase::Released(Cause::Failed(_))));
}

#[test]
fn a_failed_export_waits_for_the_others_then_undoes_all() {
    let mut world = World::new();
    world.act(0, 1);
    world.nodes.unreachable[1] = true;
    run_quietly(&mut world);
    assert!(world.nodes.exports.iter().all(BTreeSet::is_empty));
    let Phase::Releasing(releasing) = &world.stored else { panic!("{:?}", world.stored) };
    assert_eq!(releasing.remains.len(), 1, "the donor that died did not confirm");
    world.nodes.unreachable[1] = false;
    world.input(Input::Retry);
    run_quietly(&mut world);
    assert!(matches!(world.stored, Phase::Released(Cause::Failed(_))));
}

#[test]
fn a_pool_found_half_made_after_a_restart_is_undone() {
    let mut world = World::new();
    for _ in 0..4 {
        world.act(0, 1);
    }
    world.crash(0);
    run_quietly(&mut world);
    assert_eq!(world.stored, Phase::Released(Cause::Restarted));
    assert!(world.nodes.held().is_empty());
}

#[test]
fn a_store_that_fails_at_the_last_step_undoes_the_pool() {
    let mut world = World::new();
    while world.in_flight.first().is_some_and(|call| call.step != Step::Mount) {
        world.act(0, 1);
    }
    world.store_refuses = true;
    run_quietly(&mut world);
    assert!(matches!(world.stored, Phase::Released(Cause::Failed(_))));
}
