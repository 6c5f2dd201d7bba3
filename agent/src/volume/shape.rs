//! Which volumes can be. Pure.

use rampool_proto::v1::{Failure, FailureKind, Redundancy, VolumeLayout};

use super::Wanted;
use super::groups;
use crate::names;
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
    refuse_odd_groups(wanted)?;
    let least = least(wanted.redundancy, wanted.formed.is_some());
    let widest = widest(wanted);
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

fn widest(wanted: &Wanted) -> usize {
    match (wanted.layout, wanted.redundancy, groups::width(wanted)) {
        (VolumeLayout::Lvm, ..) => WIDEST_LVM,
        (_, Redundancy::Parity | Redundancy::DoubleParity, None) => WIDEST_GROUP,
        (.., Some(width)) => width * names::MOST_GROUPS as usize,
        _ => WIDEST_MD,
    }
}

/// Groups are equal: the stripe over them would not use the rest of a larger one.
fn refuse_odd_groups(wanted: &Wanted) -> Outcome<()> {
    let Some(width) = groups::width(wanted) else { return Ok(()) };
    let least = least(wanted.redundancy, false);
    let count = wanted.serials.len();
    let said = if !(least..=WIDEST_GROUP).contains(&width) {
        format!("parity groups of {width}: from {least} to {WIDEST_GROUP} are possible")
    } else if wanted.formed.is_none() && !count.is_multiple_of(width) {
        format!("{count} disks do not make whole parity groups of {width}")
    } else {
        return Ok(());
    };
    Err(failure(FailureKind::Invalid, said).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;

    fn wanted(layout: VolumeLayout, redundancy: Redundancy, width: usize, group: u32) -> Wanted {
        Wanted {
            assembly: assembly("demo.5"),
            layout,
            redundancy,
            chunk_kib: 64,
            serials: (0..width).map(|number| number.to_string()).collect(),
            spares: Vec::new(),
            formed: None,
            group_width: group,
            replacing: None,
        }
    }

    #[test]
    fn every_pair_works_or_is_refused_with_the_reason() {
        use Redundancy::{DoubleParity, Mirror, None, Parity};
        use VolumeLayout::{Lvm, Md};
        for (layout, redundancy, width, group, why) in [
            (Md, None, 1, 0, ""),
            (Md, None, 0, 0, "from 1 to 1920"),
            (Lvm, None, 128, 0, ""),
            (Lvm, None, 129, 0, "from 1 to 128"),
            (Lvm, Mirror, 4, 0, "redundancy is md's work"),
            (Md, Mirror, 2, 0, ""),
            (Md, Mirror, 41, 0, ""),
            (Md, Mirror, 1, 0, "from 2 to"),
            (Md, Parity, 2, 0, "from 3 to 10"),
            (Md, Parity, 10, 0, ""),
            (Md, Parity, 11, 0, "from 3 to 10"),
            (Md, Parity, 20, 10, ""),
            (Md, Parity, 8, 10, ""),
            (Md, Parity, 21, 10, "whole parity groups of 10"),
            (Md, Parity, 22, 11, "groups of 11"),
            (Md, DoubleParity, 6, 3, "groups of 3"),
            (Md, DoubleParity, 360, 10, ""),
            (Md, DoubleParity, 370, 10, "from 4 to 360"),
        ] {
            let outcome = check(&wanted(layout, redundancy, width, group));
            let said = outcome.err().map(|failure| failure.said).unwrap_or_default();
            let as_wanted = if why.is_empty() { said.is_empty() } else { said.contains(why) };
            assert!(as_wanted, "{layout:?} {redundancy:?} {width} {group}: {said:?}");
        }
    }

    #[test]
    fn spares_need_something_to_be_filled_from() {
        for (redundancy, refused) in [(Redundancy::None, true), (Redundancy::Mirror, false)] {
            let mut wanted = wanted(VolumeLayout::Md, redundancy, 4, 0);
            wanted.spares.push("spare".to_owned());
            assert_eq!(check(&wanted).is_err(), refused);
        }
    }
}
