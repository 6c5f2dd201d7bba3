//! Kernel modules that udev would load on most nodes, and nobody on some.

use std::time::Duration;

use crate::command;
use crate::node::Node;
use crate::outcome::Outcome;

/// Loading a module takes moments.
const DEADLINE: Duration = Duration::from_secs(20);

/// Loads those of `modules` that are not loaded. (What is built into the kernel may show no
/// folder; modprobe knows and succeeds.)
pub(crate) fn ensure(node: &Node, modules: &[&str]) -> Outcome<()> {
    for module in modules {
        if !node.roots.sys.join("module").join(module).exists() {
            command::succeed(node.programs.modprobe.path()?, &[module], DEADLINE)?;
        }
    }
    Ok(())
}
