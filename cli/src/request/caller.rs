//! Whose pool it will be: the person who typed the command. The mount's root will be theirs.
//!
//! The client's key is usually root's, so `sudo rampool up` is common; then the pool belongs to
//! who called sudo. `SUDO_UID` is believed only when we run as root: anybody else could set it,
//! and root may give a pool to whom it likes.

use nix::unistd::{Gid, Uid, User};

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The login name, or the number where the uid has none here.
    pub name: String,
    /// The numeric user.
    pub uid: u32,
    /// The user's numeric group.
    pub gid: u32,
}

/// Who runs this process, or who ran the sudo that runs it.
#[must_use]
pub fn current() -> Caller {
    let variable = |name: &str| std::env::var(name).ok();
    let ids = (Uid::current().as_raw(), Gid::current().as_raw());
    let (uid, gid) = ids_behind_sudo(ids, variable);
    // An error of the user database is no reason to refuse a pool: the number says who it is.
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Caller { name: user.map_or_else(|| uid.to_string(), |user| user.name), uid, gid }
}

/// The ids of who called sudo, where root runs under sudo; `own` otherwise.
fn ids_behind_sudo(own: (u32, u32), variable: impl Fn(&str) -> Option<String>) -> (u32, u32) {
    let number = |name| variable(name)?.parse().ok();
    match (own.0, number("SUDO_UID"), number("SUDO_GID")) {
        (0, Some(uid), Some(gid)) => (uid, gid),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sudo(uid: &'static str, gid: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| match name {
            "SUDO_UID" => Some(uid.to_owned()),
            "SUDO_GID" => Some(gid.to_owned()),
            _ => None,
        }
    }

    #[test]
    fn sudo_is_believed_of_root_alone() {
        assert_eq!(ids_behind_sudo((0, 0), sudo("1000", "100")), (1000, 100));
        assert_eq!(ids_behind_sudo((0, 0), |_| None), (0, 0));
        assert_eq!(ids_behind_sudo((0, 0), sudo("x", "100")), (0, 0));
        assert_eq!(ids_behind_sudo((7, 8), sudo("1000", "100")), (7, 8));
    }
}
