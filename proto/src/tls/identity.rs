//! What a certificate says of its holder.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What the holder of a certificate may be. In the certificate it is a URI among the subject's
/// alternative names: any CA can write one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The controller: agents obey it alone.
    Controller,
    /// The agent of the nodes that the certificate names, and Slurm's hooks there: it is
    /// believed about those alone.
    Agent,
    /// A person who runs the cluster.
    Operator,
    /// Slurm's hooks on slurmctld's host.
    Slurm,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Controller, Self::Agent, Self::Operator, Self::Slurm];

    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Slurm => "slurm",
        }
    }

    /// How it stands in a certificate.
    #[must_use]
    pub fn uri(self) -> String {
        format!("{SCHEME}{}", self.name())
    }
}

/// The scheme of roles' URIs. A role that this version does not know gives no right.
const SCHEME: &str = "rampool:";

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            format!("{text:?} is no role: controller, agent, operator and slurm are")
        })
    }
}

/// A certificate that ends within so many days should be renewed: a month, since that is somebody's
/// work.
pub const ENDS_SOON_DAYS: u16 = 30;

/// Who the holder of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it may be.
    pub roles: BTreeSet<Role>,
    /// Its DNS names; the first is what it is called by.
    pub names: Vec<String>,
    /// The addresses by which it may be dialled besides.
    pub addresses: Vec<IpAddr>,
    /// When the certificate ends, in seconds since 1970.
    pub not_after: i64,
}

impl Identity {
    /// What a certificate (DER) says. Whether it is true, the CA's signature says.
    pub fn read(certificate: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|error| format!("the certificate's names cannot be read: {error}"))?;
        let mut identity = Self {
            roles: BTreeSet::new(),
            names: Vec::new(),
            addresses: Vec::new(),
            not_after: certificate.validity().not_after.timestamp(),
        };
        let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
        for name in alternatives {
            match name {
                GeneralName::DNSName(name) => identity.names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => identity.addresses.extend(address(bytes)),
                GeneralName::URI(uri) => {
                    let role = uri.strip_prefix(SCHEME).and_then(|role| role.parse::<Role>().ok());
                    identity.roles.extend(role);
                }
                _ => {}
            }
        }
        Ok(identity)
    }

    /// When the certificate ends, in milliseconds since 1970.
    #[must_use]
    pub fn ends_ms(&self) -> u64 {
        u64::try_from(self.not_after).unwrap_or_default().saturating_mul(1000)
    }

    /// Whether it may be one of these.
    #[must_use]
    pub fn is_one_of(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }

    /// Whether it is the agent of this node.
    #[must_use]
    pub fn is_agent_of(&self, node: &str) -> bool {
        self.roles.contains(&Role::Agent) && self.names.iter().any(|name| name == node)
    }
}

/// An address as a certificate has it: 4 or 16 bytes (RFC 5280, 4.2.1.6).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// `agent n1`, as it is written to logs.
impl Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
        let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join("+") };
        write!(f, "{roles} {}", self.names.first().map_or("without a name", String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_role_reads_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn an_agent_is_that_of_the_nodes_it_names() {
        let of = |role| Identity {
            roles: [role].into(),
            names: vec!["n1".into(), "n1.ib".into()],
            addresses: Vec::new(),
            not_after: 0,
        };
        assert!(of(Role::Agent).is_agent_of("n1.ib"));
        assert!(!of(Role::Agent).is_agent_of("n2"));
        assert!(!of(Role::Operator).is_agent_of("n1"));
        assert_eq!(of(Role::Slurm).to_string(), "slurm n1");
    }

    proptest! {
        #[test]
        fn nothing_that_a_peer_shows_ends_the_process(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Identity::read(&bytes);
        }
    }
}
