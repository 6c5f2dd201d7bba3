//! fio on the mounted pool.

use anyhow::{Context, Result};
use rampool_e2e::fio::{self, WORKLOADS};
use rampool_e2e::small_files;
use rampool_lab::Node;

/// One measured row.
pub(crate) struct Row {
    pub(crate) title: String,
    /// Operations a second.
    pub(crate) rate: f64,
}

/// Long enough for a steady figure on two cores, short enough for a demo.
const SECONDS: f64 = 2.0;
const FILE_BYTES: u64 = 512 << 20;
const FILES: u32 = 10_000;

/// Measures every workload on `mount` of the head.
pub(crate) fn measure(head: &Node, mount: &str) -> Result<Vec<Row>> {
    let file = format!("{mount}/fio");
    // Laid out first, so that reads find data and writes overwrite.
    head.sh(&format!("dd if=/dev/zero of={file} bs=1M count={} oflag=direct", FILE_BYTES >> 20))?;
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        let arguments = workload.arguments(&file, FILE_BYTES, SECONDS);
        rows.push(row(head, workload.title(), &arguments)?);
    }
    head.sh(&format!("rm {file}"))?;
    println!();
    for (title, rate) in
        small_files::TITLES.into_iter().zip(small_files::rates(head, mount, FILES)?)
    {
        println!("{title}: {rate:.0} a second, {FILES} files in one folder");
        rows.push(Row { title: title.to_owned(), rate });
    }
    Ok(rows)
}

fn row(head: &Node, title: String, arguments: &[String]) -> Result<Row> {
    println!("\n{}# {}", head.name(), arguments.join(" "));
    let report = head.exec(arguments.iter().cloned())?.ok()?;
    let rate = fio::iops(&report).with_context(|| title.clone())?;
    println!("{title}: {rate:.0} a second");
    Ok(Row { title, rate })
}
