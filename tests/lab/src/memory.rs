//! Whether this machine has the memory that a lab's nodes may come to use.

use std::fs;

use anyhow::{Context, Result, ensure};

/// Refuses a lab whose nodes together may use more memory than the machine has free.
///
/// A node's memory is a sparse file: only pages that it has touched cost. But it touches all of them in time, and a
/// machine without memory kills processes of its own choice.
///
/// # Errors
/// Says how much is wanted, how much there is, and what to do.
pub fn check(nodes: u8, memory_mib: u64) -> Result<()> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let free = available_mib(&meminfo).context("cannot understand /proc/meminfo")?;
    check_against(nodes, memory_mib, free)
}

fn check_against(nodes: u8, memory_mib: u64, free: u64) -> Result<()> {
    let wanted = u64::from(nodes) * memory_mib;
    ensure!(
        wanted <= free,
        "{nodes} nodes of {memory_mib} MiB may come to use {wanted} MiB, and this machine has {free} MiB free (swap \
         included): use fewer nodes or smaller ones (at most {} MiB each for {nodes}), or take other labs down",
        free / u64::from(nodes.max(1)),
    );
    Ok(())
}

/// Memory and swap that can be had now, in MiB.
#[must_use]
pub fn available_mib(meminfo: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Some((field("MemAvailable:")? + field("SwapFree:").unwrap_or(0)) / 1024)
}

/// Reads `512M`, `1G`, `1GiB` or a plain number of MiB.
///
/// # Errors
/// When it is none of these, or below what a node needs to boot.
pub fn parse_mib(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "M" | "MiB" => Some(1),
        "G" | "GiB" => Some(1024),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let mib = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    let mib =
        mib.with_context(|| format!("`{text}` is no size of memory: write it like 512M or 1G"))?;
    ensure!(mib >= 128, "{mib} MiB is too little for a node: 128 MiB is the least");
    Ok(mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_counts_as_memory() {
        assert_eq!(
            available_mib("MemTotal: 9 kB\nMemAvailable:  2048 kB\nSwapFree: 1024 kB\n"),
            Some(3)
        );
        assert_eq!(available_mib("MemAvailable:  2048 kB\n"), Some(2));
        assert_eq!(available_mib("rubbish"), None);
    }

    #[test]
    fn a_refusal_names_what_would_fit() {
        check_against(4, 1024, 4096).unwrap();
        let refusal = check_against(5, 1024, 4096).unwrap_err().to_string();
        assert!(
            refusal.contains("5120 MiB") && refusal.contains("at most 819 MiB each"),
            "{refusal}"
        );
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_mib("512M").unwrap(), 512);
        assert_eq!(parse_mib("2G").unwrap(), 2048);
        assert_eq!(parse_mib("2GiB").unwrap(), 2048);
        assert_eq!(parse_mib("300").unwrap(), 300);
        for bad in ["", "G", "1T", "1.5G", "-1G", "64M", "99999999999999999999G"] {
            assert!(parse_mib(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
