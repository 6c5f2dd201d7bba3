//! The lab's network: one bridge with a tap for each node's data link, and one more tap a node for its management.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::names::NodeId;

/// The switch between the nodes' data links. The lab itself has the network's first address.
const BRIDGE: &str = "br0";

/// The lab's own hardware address there. Left to itself a bridge takes the lowest of its ports',
/// which changes when one is cut or healed.
const BRIDGE_MAC: &str = "02:77:00:00:00:00";

/// Makes all of it, in the network namespace that this process is in.
pub(super) fn make(nodes: u8) -> Result<()> {
    // IPv6 would only add its announcements. Where the machine has none, there is nothing to switch off.
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    ip(&script(nodes)).context("cannot make the lab's network")
}

/// Takes a node's data link out of the switch. The node's interface stays up, as with a dead switch: nobody is told.
pub(super) fn cut(node: NodeId) -> Result<()> {
    ip(&format!("link set {} nomaster\n", node.data_tap()))
        .with_context(|| format!("cannot cut node {node}"))
}

/// Puts it back.
pub(super) fn heal(node: NodeId) -> Result<()> {
    ip(&format!("link set {} master {BRIDGE}\n", node.data_tap()))
        .with_context(|| format!("cannot heal node {node}"))
}

/// The neighbours of the lab itself are fixed: who asked for a node while it was cut would be told
/// for a second more that there is no route to it.
fn script(nodes: u8) -> String {
    let mut script = format!(
        "link set lo up\n\
         link add {BRIDGE} address {BRIDGE_MAC} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n\
         addr add 10.77.0.1/24 dev {BRIDGE}\n\
         link set {BRIDGE} up\n"
    );
    for node in NodeId::first(nodes) {
        let (data, management) = (node.data_tap(), node.management_tap());
        script.push_str(&format!(
            "tuntap add dev {data} mode tap\n\
             link set {data} master {BRIDGE} up\n\
             neigh replace {} lladdr {} dev {BRIDGE} nud permanent\n\
             tuntap add dev {management} mode tap\n\
             addr add {}/30 dev {management}\n\
             link set {management} up\n\
             neigh replace {} lladdr {} dev {management} nud permanent\n",
            node.data_addr(),
            node.data_mac(),
            node.management_host_addr(),
            node.management_addr(),
            node.management_mac(),
        ));
    }
    script
}

fn ip(script: &str) -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run the program ip: apt-get install iproute2")?;
    if let Some(mut stdin) = ip.stdin.take() {
        stdin.write_all(script.as_bytes()).context("cannot write to the program ip")?;
    }
    let output = ip.wait_with_output().context("cannot wait for the program ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip: {}: {}", output.status, said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_gets_two_links() {
        let script = script(2);
        for line in [
            "link set d2 master br0 up",
            "neigh replace 10.77.0.12 lladdr 02:77:00:00:00:02 dev br0 nud permanent",
            "addr add 10.78.2.1/30 dev m2",
            "tuntap add dev m1 mode tap",
        ] {
            assert!(script.lines().any(|l| l == line), "{line} is not in\n{script}");
        }
    }
}
