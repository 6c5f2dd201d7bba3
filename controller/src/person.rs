//! Users of the controller's host, as its user database knows them.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt::{self, Display};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The login name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the first group.
    pub gid: u32,
    /// The names of all groups.
    pub groups: BTreeSet<String>,
}

impl Person {
    /// Who that is; blocks as long as the user database takes (a directory service, perhaps).
    pub fn of(uid: u32) -> Result<Self, String> {
        let unknown = || format!("uid {uid} is not in the user database of the controller's host");
        let unread = |error| format!("the user database of the controller's host: {error}");
        let user = User::from_uid(Uid::from_raw(uid)).map_err(unread)?.ok_or_else(unknown)?;
        let name = CString::new(user.name.as_str()).map_err(|_| unknown())?;
        let mut groups = BTreeSet::new();
        for gid in getgrouplist(&name, user.gid).map_err(unread)? {
            // A group without a name is nobody's to name in a rule.
            groups.extend(Group::from_gid(gid).map_err(unread)?.map(|group| group.name));
        }
        Ok(Self { name: user.name, uid, gid: Gid::as_raw(user.gid), groups })
    }

    /// The same, beside what else there is to do.
    pub async fn look_up(uid: u32) -> Result<Self, String> {
        let found = tokio::task::spawn_blocking(move || Self::of(uid)).await;
        found.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Root, whom every host knows: nothing is asked.
    #[must_use]
    pub fn root() -> Self {
        Self { name: "root".into(), uid: 0, gid: 0, groups: BTreeSet::new() }
    }
}

/// `alice (uid 1001)`.
impl Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (uid {})", self.name, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_database_knows_root_and_its_group_and_not_everybody() {
        let root = Person::of(0).unwrap();
        assert_eq!((&*root.name, root.gid), ("root", 0));
        assert!(root.groups.contains("root"), "{root:?}");
        // One below the number that stands for none.
        let told = Person::of(u32::MAX - 1).unwrap_err();
        assert!(told.contains("is not in the user database"), "{told}");
    }
}
