//! Which volumes can be. Pure.

use rampool_proto::v1::{Failure, FailureKind, Redundancy, VolumeLayout};

use super::Wanted;
use crate::outcome::{Outcome, failure};

/// The greatest number of disks that LVM stripes over (`lvcreate -i`).
const WIDEST_LVM: usize = 128;

/// The greatest number of disks that md's v1.2 superblock names in its first page.
const WIDEST_MD: usize = 1920;

/// A parity group is never wider: with each further member, losing one more than it bears
/// becomes likelier, and rebuilding one reads all the others.
const WIDEST_GROUP: usize = 10;

/// Refuses what no volume can be.
pub(super) fn check(wanted: &Wanted) -> Outcome<()> {
    refuse_pair(wanted.layout, wanted.redundancy)?;
    let width = wanted.serials.len();
    let least = least(wanted.redundancy, wanted.formed.is_some());
    let widest = widest(wanted.layout, wanted.redundancy);
    if !(least..=widest).contains(&width) {
        let said = format!(
            "{width} disks: from {least} to {widest} can be made one in this layout with this \
             redundancy"
        );
        return Err(failure(FailureKind::Invalid, said).into());
    }
    if !wanted.spares.is_empty() && wanted.redundancy == Redundancy::None {
        let said = "spares have nothing to be filled from without redundancy";
        return Err(failure(FailureKind::Invalid, said).into());
    }
    Ok(())
}

/// Refuses a layout that cannot have this redundancy.
pub(crate) fn refuse_pair(layout: VolumeLayout, redundancy: Redundancy) -> Outcome<()> {
    let refused: Failure = match (layout, redundancy) {
        (VolumeLayout::Unspecified, _) => {
            failure(FailureKind::Invalid, "no volume layout is named")
        }
        (VolumeLayout::Lvm, Redundancy::None | Redundancy::Unspecified) | (VolumeLayout::Md, _) => {
            return Ok(());
        }
        (VolumeLayout::Lvm, _) => {
            let said = "LVM volumes are striped only: redundancy is md's work here";
            failure(FailureKind::Invalid, said).advising("ask for the layout md")
        }
    };
    Err(refused.into())
}

/// One that was made already may lack members: md knows how many.
fn least(redundancy: Redundancy, made: bool) -> usize {
    match redundancy {
        _ if made => 1,
        Redundancy::None | Redundancy::Unspecified => 1,
        Redundancy::Mirror => 2,
        Redundancy::Parity => 3,
        Redundancy::DoubleParity => 4,
    }
}

fn widest(layout: VolumeLayout, redundancy: Redundancy) -> usize {
    match (layout, redundancy) {
        (VolumeLayout::Lvm, _) => WIDEST_LVM,
        (_, Redundancy::Parity | Redundancy::DoubleParity) => WIDEST_GROUP,
        _ => WIDEST_MD,
    }
}
