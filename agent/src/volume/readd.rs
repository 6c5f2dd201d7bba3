//! Takes members back that were only cut off: the bitmap knows what they missed.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FailureKind, Redundancy};

use super::array::{self, Array, Member, State};
use super::members;
use super::{freeze, mdadm, replace};
use crate::attach::disks::{self, OurDisk};
use crate::attach::sessions;
use crate::node::Node;
use crate::outcome::{Outcome, failure};

/// What became of the members that were to be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readded {
    /// Serials of those that are members again.
    pub readded: Vec<String>,
    /// Why others are not: a sentence each.
    pub refused: Vec<String>,
}

/// Takes back the members with these serials, or where none is named all that md gave up and
/// whose sessions are up again.
pub fn readd(node: &Node, assembly: &Assembly, serials: &[String]) -> Outcome<Readded> {
    let volume = super::require(node, assembly)?;
    let arrays = array::of_disks(&node.roots, &volume.name);
    if arrays.iter().any(|array| array.redundancy() == Redundancy::None) {
        let said = "a volume without redundancy loses no member that could be taken back";
        return Err(failure(FailureKind::Invalid, said)
            .by(volume.device.display().to_string())
            .into());
    }
    let serials = match serials {
        [] => given_up(node, assembly, &arrays),
        named => named.to_vec(),
    };
    let mut outcome = Readded::default();
    for serial in serials {
        match take_back(node, &arrays, &serial) {
            Ok(true) => outcome.readded.push(serial),
            Ok(false) => {}
            Err(why) => outcome.refused.push(format!("{serial}: {why}")),
        }
    }
    Ok(outcome)
}

/// Disks of the assembly's sessions that answer, and are no members or dead ones.
fn given_up(node: &Node, assembly: &Assembly, arrays: &[Array]) -> Vec<String> {
    let is_out =
        |disk: &OurDisk| !arrays.iter().filter_map(|array| array.member(&disk.name)).any(serves);
    sessions::of(node, assembly)
        .iter()
        .filter_map(|session| session.disk(&node.roots))
        .filter(|disk| disks::is_running(&node.roots, &disk.name) && is_out(disk))
        .filter(|disk| arrays.iter().any(|array| is_of(node, array, disk).is_ok_and(|is| is)))
        .map(|disk| disk.serial)
        .collect()
}

fn serves(member: &Member) -> bool {
    member.state != State::Faulty
}

/// Whether the disk's superblock is the array's: its members tell the array's identifier.
fn is_of(node: &Node, array: &Array, disk: &OurDisk) -> Outcome<bool> {
    let Some(found) = members::superblock(&node.roots, disk)? else { return Ok(false) };
    let member = array.members.iter().find(|member| {
        member.state == State::InSync && disks::is_running(&node.roots, &member.disk)
    });
    let Some(member) = member.and_then(|member| disks::by_name(&node.roots, member.disk.clone()))
    else {
        return Ok(false);
    };
    let own = members::superblock(&node.roots, &member)?;
    Ok(own.is_some_and(|own| own.array == found.array))
}

/// Whether it was taken back now; `false` if it is a member that serves.
fn take_back(node: &Node, arrays: &[Array], serial: &str) -> Result<bool, String> {
    let disk = disks::by_serial(&node.roots, serial).ok_or("no disk here has this serial")?;
    if arrays.iter().filter_map(|array| array.member(&disk.name)).any(serves) {
        return Ok(false);
    }
    if !disks::is_running(&node.roots, &disk.name) {
        return Err("its session is not up".to_owned());
    }
    let array = arrays.iter().find(|array| is_of(node, array, &disk).is_ok_and(|is| is));
    let array = array.ok_or("its memory is not that of a member of this volume any more")?;
    if array.vacant() == 0 {
        return Err("another disk has taken its place".to_owned());
    }
    if array.member(&disk.name).is_some() {
        freeze::thaw(node, &array.name).map_err(|failure| failure.to_string())?;
        replace::remove(node, array, &disk.name).map_err(|failure| failure.to_string())?;
    }
    mdadm::re_add(node, &array.name, &disk).map(|()| true).map_err(|failure| {
        format!("the bitmap does not know what it missed: replace it ({})", failure.said)
    })
}
