//! What a fault does, and how it is healed.

use std::time::Duration;

use anyhow::{Context, Result};

use super::cell::{Fault, Victim};
use super::stage::{Cast, Stage};
use super::table::{HELD, stays_away};
use crate::cluster::CONTROLLER;

/// systemd's `RestartSec=` in our units.
const RESTART: Duration = Duration::from_secs(1);

/// How long a program may take to end in order, in seconds: systemd's default for `TimeoutStopSec=`
/// is longer, but nothing of ours has to be waited for.
const ORDERLY: u32 = 30;

/// Hits the victim and brings it back; but one that stays away is left so until [`bring_back`].
pub fn hit(stage: &Stage, cast: &Cast) -> Result<()> {
    let (victim, fault) = (cast.cell.victim, cast.cell.fault);
    std::thread::sleep(cast.delay);
    let hit = match victim {
        Victim::Controller => hit_program(stage, cast, "rampool-controller"),
        Victim::DonorAgent | Victim::HeadAgent => hit_program(stage, cast, "rampool-agent"),
        Victim::Iscsid => hit_program(stage, cast, "iscsid"),
        Victim::Donor | Victim::Head | Victim::DonorLink | Victim::ControllerLink => {
            hit_node(stage, cast)
        }
    };
    hit.with_context(|| format!("{} {} on {}", victim.word(), fault.word(), cast.victim()))
}

/// Brings back who stayed away.
pub fn bring_back(stage: &Stage, cast: &Cast) -> Result<()> {
    if !stays_away(&cast.cell) {
        return Ok(());
    }
    let node = stage.cluster.node(cast.victim());
    if cast.cell.victim == Victim::DonorLink { node.heal() } else { node.boot() }
}

fn hit_node(stage: &Stage, cast: &Cast) -> Result<()> {
    let node = stage.cluster.node(cast.victim());
    match (cast.cell.fault, cast.cell.victim) {
        (Fault::Paused, _) => {
            node.pause()?;
            std::thread::sleep(HELD);
            node.resume()
        }
        (Fault::Cut, _) => {
            node.cut()?;
            std::thread::sleep(HELD);
            node.heal()
        }
        (Fault::Killed, Victim::DonorLink | Victim::ControllerLink) => node.cut(),
        (Fault::Killed, _) => node.kill(),
        (Fault::Rebooted, _) => {
            node.kill()?;
            node.boot()
        }
    }
}

fn hit_program(stage: &Stage, cast: &Cast, program: &str) -> Result<()> {
    let node = stage.cluster.node(cast.victim());
    match cast.cell.fault {
        Fault::Paused => {
            node.sh(&format!("kill -STOP $(pidof {program})"))?;
            std::thread::sleep(HELD);
            node.sh(&format!("kill -CONT $(pidof {program})")).map(drop)
        }
        Fault::Rebooted => {
            end_program(stage, cast, program, "TERM")?;
            start_program(stage, cast)
        }
        Fault::Killed | Fault::Cut => {
            end_program(stage, cast, program, "KILL")?;
            std::thread::sleep(RESTART);
            start_program(stage, cast)
        }
    }
}

fn end_program(stage: &Stage, cast: &Cast, program: &str, signal: &str) -> Result<()> {
    let script = format!(
        "pidof {program} >/dev/null || {{ echo '{program} does not run' >&2; exit 1; }}\n\
         # Of two processes, the second may end with the first.\n\
         kill -{signal} $(pidof {program}) 2>/dev/null\n\
         for i in $(seq {ORDERLY}0); do pidof {program} >/dev/null || exit 0; sleep 0.1; done\n\
         echo '{program} does not end' >&2; exit 1"
    );
    stage.cluster.node(cast.victim()).sh(&script).map(drop)
}

fn start_program(stage: &Stage, cast: &Cast) -> Result<()> {
    match cast.cell.victim {
        Victim::Controller => {
            stage.cluster.start_controller()?;
            // Until it listens, all that can be learnt from it is that it does not.
            stage.cluster.wait_reachable(&[CONTROLLER])
        }
        Victim::Iscsid => stage.cluster.node(cast.victim()).sh("iscsid").map(drop),
        _ => stage.cluster.start_agent(cast.victim()),
    }
}
