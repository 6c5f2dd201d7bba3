//! Takes dead members off a volume that works without them, so that their sessions can end: md
//! lists them until somebody does.

use rampool_proto::pool_name::Assembly;

use super::array::{self, Array, Member, State};
use super::replace;
use crate::attach::{Whose, disks, sessions};
use crate::node::Node;
use crate::outcome::{During, Outcome};

/// Takes off what md gave up, or would if it asked, of the disks of the donors that are named.
/// What serves stays, and so does everything where all donors are meant: then the volume itself
/// is to go first.
pub fn dismiss(node: &Node, assembly: &Assembly, whose: &Whose) -> Outcome<()> {
    let Some(volume) = super::find(node, assembly).filter(|_| *whose != Whose::All) else {
        return Ok(());
    };
    let meant = sessions::of(node, assembly).into_iter();
    let meant = meant.filter(|session| whose.includes(&session.donor));
    let disks: Vec<_> = meant.filter_map(|session| session.disk(&node.roots)).collect();
    for array in array::of_disks(&node.roots, &volume.name) {
        let listed = disks.iter().filter_map(|disk| array.member(&disk.name));
        for member in listed.filter(|member| is_dead(node, member)) {
            take_off(node, &array, member).during("take a dead member off the volume")?;
        }
    }
    Ok(())
}

fn is_dead(node: &Node, member: &Member) -> bool {
    member.state == State::Faulty || disks::is_lost(&node.roots, &member.disk)
}

/// md asks nothing of an idle member, and may not know yet. It refuses to give up the last copy.
fn take_off(node: &Node, array: &Array, member: &Member) -> Outcome<()> {
    if member.state != State::Faulty {
        replace::set_state(node, array, &member.disk, "faulty")?;
    }
    replace::remove(node, array, &member.disk)
}
