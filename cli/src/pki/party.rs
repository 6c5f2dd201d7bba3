//! For whom certificates are made.

use std::str::FromStr;

use rampool_proto::hostlist::HostList;
use rampool_proto::tls::Role;

/// Parties of one role: `agent=n[001-040]`.
#[derive(Clone, Debug)]
pub struct Parties {
    /// What they may be.
    pub role: Role,
    /// Who they are: a certificate each.
    pub names: HostList,
}

impl FromStr for Parties {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (role, names) = text.split_once('=').ok_or_else(|| {
            format!("{text:?} does not say what they may be: write ROLE=NAMES, like agent={text}")
        })?;
        let names = names.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { role: role.parse()?, names })
    }
}

/// What the files of one party are called, without their endings: no two roles share one.
pub(super) fn file_name(role: Role, name: &str) -> String {
    format!("{role}-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_and_a_host_list() {
        let parties: Parties = "agent=mds1,n[1-3]".parse().unwrap();
        assert_eq!((parties.role, parties.names.len()), (Role::Agent, 4));
        for (bad, word) in [("n1", "agent=n1"), ("root=n1", "no role"), ("agent=", "")] {
            let said = bad.parse::<Parties>().unwrap_err();
            assert!(said.contains(word), "{bad}: {said}");
        }
    }
}
