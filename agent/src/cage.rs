//! The agent's own cage: the folders, names and networks of this node that are rampool's. What a
//! request names outside of them is refused, also where the controller asks: its key may be in the
//! wrong hands.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind};

use crate::config::Config;
use crate::mount::refuse_odd;
use crate::names;
use crate::outcome::{During, Outcome, failure};

/// What requests to one node may name.
#[derive(Clone, Debug)]
pub struct Cage {
    authority: String,
    mount_roots: Vec<PathBuf>,
    networks: Vec<IpNet>,
}

impl Cage {
    /// By a node's configuration. Its own network, where none is named, is that of the moment.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut mount_roots = vec![config.mount_root.clone()];
        mount_roots.extend_from_slice(&config.mount_roots);
        let networks = match config.data_networks.as_slice() {
            [] => vec![network_of(config.data.ip(), &interfaces())],
            named => named.to_vec(),
        };
        Self { authority: config.authority.clone(), mount_roots, networks }
    }

    /// A mount point; empty means the usual one.
    pub(crate) fn mount_point(&self, text: String) -> Outcome<PathBuf> {
        let point = PathBuf::from(text);
        if point.as_os_str().is_empty() {
            return Ok(point);
        }
        refuse_odd(&point)?;
        if self.mount_roots.iter().any(|root| point.starts_with(root)) {
            return Ok(point);
        }
        let roots: Vec<_> = self.mount_roots.iter().map(|root| root.to_string_lossy()).collect();
        let said = format!("pools are mounted below {} alone", roots.join(", "));
        Err(Failure::new(FailureKind::Invalid, "check the mount point")
            .by(point.display().to_string())
            .saying(said)
            .advising("name a folder there, or add one to mount_roots in /etc/rampool/agent.yaml")
            .into())
    }

    /// An address that is one node's, in the data network: a name could mean another one tomorrow,
    /// and a pattern anybody.
    pub(crate) fn address(&self, text: &str) -> Outcome<IpAddr> {
        let address = match text.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() && !address.is_multicast() => address,
            _ => return Err(invalid(&format!("{text:?} is no IP address of a node")).into()),
        };
        if self.networks.iter().any(|network| network.contains(&address)) {
            return Ok(address);
        }
        let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
        let said = format!("{address} is not in the data network {}", networks.join(", "));
        let advice = "where it is a node's, name its network in data_networks in \
            /etc/rampool/agent.yaml";
        Err(invalid(&said).advising(advice).into())
    }

    /// The initiator name of the head of `assembly`, which begins as everything of it does.
    pub(crate) fn initiator(&self, assembly: &Assembly, text: &str) -> Outcome<String> {
        let own = format!("{}:{assembly}", self.authority);
        let rest = text.strip_prefix(&own).filter(|rest| rest.starts_with(['.', ':']));
        if names::is_iqn(text) && rest.is_some() {
            return Ok(text.to_owned());
        }
        let said = format!("{text:?} is no initiator name of {assembly}, like {own}:head");
        let advice = "give the controller and all agents the same iqn_authority";
        Err(invalid(&said).advising(advice).into())
    }

    /// The donor's target of `assembly`.
    pub(crate) fn target(&self, assembly: &Assembly, donor: &str, text: &str) -> Outcome<()> {
        let own = names::target(&self.authority, assembly, donor);
        if text == own {
            return Ok(());
        }
        let advice = "give all agents the same iqn_authority in /etc/rampool/agent.yaml";
        let said = format!("{donor}'s target is {text:?}, not {own}");
        Err(invalid(&said).advising(advice).into())
    }
}

fn invalid(said: &str) -> Failure {
    failure(FailureKind::Invalid, said).during("check the request")
}

/// The network that `address` is in, as one of the interfaces has it; itself alone where none does.
fn network_of(address: IpAddr, interfaces: &[IpNet]) -> IpNet {
    let own = interfaces.iter().find(|network| network.addr() == address);
    own.map_or_else(|| IpNet::from(address), IpNet::trunc)
}

/// The addresses of this node, each with its network's prefix.
fn interfaces() -> Vec<IpNet> {
    let Ok(found) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let ip = |socket: Option<nix::sys::socket::SockaddrStorage>| {
        let socket = socket?;
        let v4 = socket.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| socket.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    };
    found.filter_map(|one| IpNet::with_netmask(ip(one.address)?, ip(one.netmask)?).ok()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::Path;

    use crate::names::tests::assembly;
    use proptest::prelude::*;

    /// Of a node with 10.0.0.1/24 and an IPv6 network beside it.
    pub(crate) fn cage() -> Cage {
        Cage {
            authority: "iqn.2026-11.org.rampool".into(),
            mount_roots: vec!["/rampool".into(), "/srv/scratch".into()],
            networks: vec!["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
        }
    }

    #[test]
    fn pools_are_mounted_below_their_roots_alone() {
        for good in ["", "/rampool/demo", "/rampool/a/b", "/srv/scratch", "/srv/scratch/x y"] {
            assert!(cage().mount_point(good.into()).is_ok(), "{good}");
        }
        for odd in [
            "/",
            "/etc",
            "/etc/passwd",
            "/rampoolx",
            "/srv",
            "rampool/demo",
            "/rampool/../etc",
            "/rampool//demo",
            "/rampool/demo/",
            "/rampool/./demo",
            "/rampool/a\nb",
            "/proc/self/root/rampool",
        ] {
            let told = cage().mount_point(odd.into()).unwrap_err();
            assert_eq!(told.kind(), FailureKind::Invalid, "{odd}");
            assert_eq!(told.step, "check the mount point", "{odd}");
        }
        let told = cage().mount_point("/home/me".into()).unwrap_err();
        assert!(told.said.contains("/rampool, /srv/scratch"), "{told}");
    }

    #[test]
    fn addresses_are_of_the_data_network() {
        for good in ["10.0.0.2", "10.0.0.254", "fd00::1"] {
            assert!(cage().address(good).is_ok(), "{good}");
        }
        for odd in [
            "*",
            "10.0.0.0/8",
            "n1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "127.0.0.1",
            "10.0.1.2",
            "192.0.2.7",
            "fd01::1",
            "::ffff:10.0.0.2",
            "10.0.0.2(no_root_squash)",
            "@group",
            " 10.0.0.2",
            "",
        ] {
            assert_eq!(cage().address(odd).unwrap_err().kind(), FailureKind::Invalid, "{odd}");
        }
    }

    #[test]
    fn iscsi_names_are_the_pools_own() {
        let demo = assembly("demo.3");
        let initiator = |text: &str| cage().initiator(&demo, text);
        assert!(initiator("iqn.2026-11.org.rampool:demo.3:head").is_ok());
        for odd in [
            "",
            "iqn.2026-11.org.rampool:demo.3",
            "iqn.2026-11.org.rampool:demo.31:head",
            "iqn.2026-11.org.rampool:demo.2:head",
            "iqn.2026-11.org.rampool:other.3:head",
            "iqn.2003-01.org.site:demo.3:head",
            "iqn.2026-11.org.rampool:demo.3:../../x",
            "iqn.2026-11.org.rampool:demo.3:a\nb",
        ] {
            assert_eq!(initiator(odd).unwrap_err().kind(), FailureKind::Invalid, "{odd}");
        }
        let target = |text: &str| cage().target(&demo, "n2", text);
        assert!(target("iqn.2026-11.org.rampool:demo.3.n2").is_ok());
        for odd in ["", "iqn.2026-11.org.rampool:demo.3.n3", "iqn.2003-01.org.site:x"] {
            assert!(target(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_data_network_is_that_of_the_interface() {
        let interfaces = ["10.1.2.3/16".parse().unwrap(), "fd00::3/64".parse().unwrap()];
        let of = |address: &str| network_of(address.parse().unwrap(), &interfaces).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.0.0/16");
        assert_eq!(of("fd00::3"), "fd00::/64");
        assert_eq!(of("10.1.2.4"), "10.1.2.4/32");
        // Every machine that runs this has a loopback.
        assert!(super::interfaces().iter().any(|network| network.addr().is_loopback()));
    }

    /// The folder that a path leads to, whatever is written in it.
    fn leads_to(path: &Path) -> PathBuf {
        let mut folder = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::ParentDir => {
                    folder.pop();
                }
                std::path::Component::CurDir => {}
                part => folder.push(part),
            }
        }
        folder
    }

    proptest! {
        #[test]
        fn no_mount_point_leads_out(text in "/?(rampool|srv|scratch|etc|\\.\\.|\\.|[a-z\\PC]{0,3}|/){0,6}(/(rampool|scratch|\\.\\.|\\.|x)){0,6}") {
            if let Ok(point) = cage().mount_point(text) {
                let inside = |root: &str| leads_to(&point).starts_with(root);
                prop_assert!(
                    point.as_os_str().is_empty() || inside("/rampool") || inside("/srv/scratch")
                );
            }
        }

        #[test]
        fn no_address_is_outside(bits in any::<u32>()) {
            let address = std::net::Ipv4Addr::from(bits);
            prop_assert_eq!(
                cage().address(&address.to_string()).is_ok(),
                address.octets()[..3] == [10, 0, 0]
            );
        }

        #[test]
        fn no_initiator_is_anothers(text in "(iqn\\.2026-11\\.org\\.rampool:)?(demo\\.3|other\\.1)?[a-z.:/\\PC]{0,12}") {
            if let Ok(name) = cage().initiator(&assembly("demo.3"), &text) {
                prop_assert!(name.starts_with("iqn.2026-11.org.rampool:demo.3"));
                prop_assert!(names::is_iqn(&name) && !name.contains('/'));
            }
        }
    }
}
