//! Names and addresses of the nodes of a lab: pure arithmetic, the same on both sides.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The most nodes that one lab can have: the data network is a /24 whose first eleven addresses are not nodes'.
pub const MAX_NODES: u8 = 200;

/// One node of a lab, `n1` to `n200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(u8);

impl NodeId {
    /// The node with this number, counted from one.
    ///
    /// # Errors
    /// When the number is 0 or above [`MAX_NODES`].
    pub fn new(number: u8) -> Result<Self> {
        ensure!(
            (1..=MAX_NODES).contains(&number),
            "a lab has nodes n1 to n{MAX_NODES}, there is no n{number}"
        );
        Ok(Self(number))
    }

    /// The nodes `n1` to `n<count>`.
    pub fn first(count: u8) -> impl Iterator<Item = Self> {
        (1..=count.min(MAX_NODES)).map(Self)
    }

    /// Its number, counted from one.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its place in a list of all nodes, counted from zero.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }

    /// Its address on the data network, which all nodes share.
    #[must_use]
    pub fn data_addr(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.0)
    }

    /// Its address on its management link, which it shares with the machine alone.
    #[must_use]
    pub fn management_addr(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, self.0, 2)
    }

    /// The machine's end of that link (inside the lab's network namespace).
    #[must_use]
    pub fn management_host_addr(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, self.0, 1)
    }

    /// Hardware address of its data interface, `vec0`.
    #[must_use]
    pub fn data_mac(self) -> String {
        format!("02:77:00:00:00:{:02x}", self.0)
    }

    /// Hardware address of its management interface, `vec1`.
    #[must_use]
    pub fn management_mac(self) -> String {
        format!("02:78:00:00:00:{:02x}", self.0)
    }

    /// The machine's end of its data link: a tap, port of the lab's bridge.
    #[must_use]
    pub fn data_tap(self) -> String {
        format!("d{}", self.0)
    }

    /// The machine's end of its management link: a tap of its own.
    #[must_use]
    pub fn management_tap(self) -> String {
        format!("m{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_prefix('n').and_then(|digits| digits.parse().ok());
        match number {
            Some(number) if text == format!("n{number}") => Self::new(number),
            _ => bail!("`{text}` is no node of a lab: nodes are n1, n2, ... n{MAX_NODES}"),
        }
    }
}

impl TryFrom<String> for NodeId {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(node: NodeId) -> Self {
        node.to_string()
    }
}

/// Checks that a lab's name can be a folder's name and needs no quoting anywhere.
///
/// # Errors
/// Names the character or the length that does not fit.
pub fn check_lab_name(name: &str) -> Result<()> {
    let first = name.chars().next().context("a lab's name may not be empty")?;
    ensure!(name.len() <= 64, "the lab's name `{name}` is longer than 64 characters");
    ensure!(
        first.is_ascii_alphanumeric(),
        "the lab's name `{name}` must begin with a letter or digit"
    );
    match name.chars().find(|&c| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
        Some(odd) => bail!(
            "the lab's name `{name}` has {odd:?} in it: use letters, digits, `-`, `_` and `.`"
        ),
        None => Ok(()),
    }
}

/// `/etc/hosts` of every node: all nodes by their data address.
#[must_use]
pub fn hosts_file(nodes: u8) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for node in NodeId::first(nodes) {
        text.push_str(&format!("{} {node}\n", node.data_addr()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_from_one() {
        assert_eq!(NodeId::first(3).map(|n| n.to_string()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        assert_eq!("n12".parse::<NodeId>().unwrap().index(), 11);
        for odd in ["n0", "n201", "n01", "n+1", "1", "n", "", "node1", "n1 "] {
            assert!(odd.parse::<NodeId>().is_err(), "{odd:?} was taken for a node");
        }
    }

    #[test]
    fn no_two_nodes_share_an_address() {
        let addresses: std::collections::HashSet<_> = NodeId::first(MAX_NODES)
            .flat_map(|n| [n.data_addr(), n.management_addr(), n.management_host_addr()])
            .collect();
        assert_eq!(addresses.len(), 3 * usize::from(MAX_NODES));
        assert_eq!(NodeId::new(1).unwrap().data_addr(), Ipv4Addr::new(10, 77, 0, 11));
        assert_eq!(NodeId::new(MAX_NODES).unwrap().data_addr(), Ipv4Addr::new(10, 77, 0, 210));
    }

    #[test]
    fn lab_names_are_plain() {
        for good in ["default", "e2e-1", "a.b_c", "0"] {
            check_lab_name(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "-x", "ü", &"x".repeat(65)] {
            assert!(check_lab_name(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn hosts_names_every_node() {
        let hosts = hosts_file(2);
        assert!(hosts.contains("10.77.0.11 n1\n10.77.0.12 n2\n"), "{hosts}");
    }
}
