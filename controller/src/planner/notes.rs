//! What the reader of a plan should know: what may be lost, and what can be done while the pool
//! is in use.

use rampool_proto::v1::{PoolSpec, Redundancy, VolumeLayout};

use super::donors::Chosen;
use super::redundancy::{bears, group_width, is_redundant};
use super::{Candidate, racks};

/// The notes of a plan.
pub(super) fn of(spec: &PoolSpec, chosen: &Chosen) -> Vec<String> {
    let redundancy = spec.redundancy();
    let mut notes = vec![volatile(redundancy), loss(redundancy, chosen.donors.len())];
    notes.extend(of_racks(redundancy, &chosen.donors));
    notes.push(moving(redundancy, spec.layout()).to_owned());
    if is_redundant(redundancy) {
        notes.push(taking_over(spec, chosen.spares.len()));
        notes.push(format!(
            "a silent donor holds up I/O for at most about {} s",
            spec.patience_seconds
        ));
        notes.push(of_head(redundancy).to_owned());
        notes.extend(of_heads_piece(&spec.head, &chosen.donors));
    }
    notes
}

fn volatile(redundancy: Redundancy) -> String {
    if is_redundant(redundancy) {
        "the pool is memory: it is gone when more donors reboot or lose power than it bears".into()
    } else {
        "the pool is memory: a reboot or power cut of a donor ends it".into()
    }
}

/// What a pool of `width` donors bears, in a sentence.
pub(crate) fn loss(redundancy: Redundancy, width: usize) -> String {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified if width == 1 => {
            "losing the one donor loses the pool".to_owned()
        }
        Redundancy::None | Redundancy::Unspecified => {
            format!("losing any one of {width} donors loses the pool (no redundancy)")
        }
        Redundancy::Mirror if width == 2 => {
            "either of the 2 donors may be lost (mirror)".to_owned()
        }
        Redundancy::Mirror => format!(
            "any one of {width} donors may be lost, and more as long as no two of them hold the \
             same blocks (mirror)"
        ),
        Redundancy::Parity | Redundancy::DoubleParity => {
            let may = if bears(redundancy) == 1 { "one" } else { "two" };
            let name = super::redundancy::name(redundancy);
            match group_width(redundancy, width) {
                0 => format!("any {may} of {width} donors may be lost ({name})"),
                group => format!(
                    "any {may} of {group} donors may be lost, in each of {} groups ({name})",
                    width / group as usize
                ),
            }
        }
    }
}

fn of_racks(redundancy: Redundancy, donors: &[Candidate]) -> Vec<String> {
    let labelled = donors.iter().filter(|donor| !donor.rack.is_empty()).count();
    if !is_redundant(redundancy) || labelled == 0 {
        return Vec::new();
    }
    let fatal = Vec::from_iter(racks::fatal(redundancy, donors));
    let mut notes = vec![if fatal.is_empty() {
        "any one rack may be lost".to_owned()
    } else {
        format!(
            "losing rack {} loses the pool: there are not enough donors in other racks",
            fatal.join(" or ")
        )
    }];
    if labelled < donors.len() {
        notes.push(format!("{} donors have no rack", donors.len() - labelled));
    }
    notes
}

/// Whether pieces can be moved while the pool is in use.
fn moving(redundancy: Redundancy, layout: VolumeLayout) -> &'static str {
    match layout {
        _ if is_redundant(redundancy) => {
            "donors can be evacuated while the pool is in use, without losing redundancy"
        }
        VolumeLayout::Lvm => "the lvm layout can be evacuated from a donor",
        VolumeLayout::Md | VolumeLayout::Unspecified => {
            "the md layout without redundancy cannot be evacuated from a donor (lvm can)"
        }
    }
}

fn taking_over(spec: &PoolSpec, spares: usize) -> String {
    let spare = match spares {
        0 => String::new(),
        1 => "a spare takes a lost donor's place; ".to_owned(),
        spares => format!("{spares} spares take lost donors' places; "),
    };
    let others = match (spec.auto_replace(), spares) {
        (true, 0) => "any eligible node takes a lost donor's place by itself",
        (true, _) => "after that any eligible node does",
        (false, 0) => "a lost donor is replaced only by hand: rampool replace",
        (false, _) => "after that only by hand: rampool replace",
    };
    format!("{spare}{others}")
}

fn of_head(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::Parity | Redundancy::DoubleParity => {
            "if the head is lost, `rampool failover` brings the pool up elsewhere; if a donor is \
             lost with it, acknowledged data may be inconsistent, and it does not"
        }
        _ => "if the head is lost, `rampool failover` brings the pool up elsewhere",
    }
}

fn of_heads_piece(head: &str, donors: &[Candidate]) -> Option<String> {
    donors.iter().any(|donor| donor.name == head).then(|| {
        format!("head {head} lends too: losing it is losing a donor, beside the head itself")
    })
}
