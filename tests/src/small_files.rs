//! Many small files: how many a second can be created, looked at, removed.
//!
//! A loop in Perl, which every Debian node has: fio's file engines cost more themselves than
//! the file system they measure (2,600 a second on a tmpfs of the lab, this loop over 8,000).

use anyhow::{Context, Result, ensure};
use rampool_lab::Node;

/// The rows, in the order of [`rates`].
pub const TITLES: [&str; 3] = ["file create", "file stat", "file unlink"];

/// Creates, stats and unlinks `@ARGV[1]` files in the folder `@ARGV[0]`; prints a line of
/// operations a second for each.
const LOOP: &str = r#"
use strict; use Time::HiRes "time";
my ($folder, $files) = @ARGV;
sub pace { my $begin = time; $_[0]->("$folder/$_") or die "$_: $!" for 1 .. $files; printf "%.1f\n", $files / (time - $begin) }
pace(sub { open(my $file, ">", $_[0]) });
pace(sub { stat $_[0] });
pace(sub { unlink $_[0] });
"#;

/// Measures with `files` files in a new folder below `mount`; the folder is gone afterwards.
pub fn rates(node: &Node, mount: &str, files: u32) -> Result<[f64; 3]> {
    let folder = format!("{mount}/files");
    node.sh(&format!("mkdir {folder}"))?;
    let printed = node.exec(["perl", "-e", LOOP, &folder, &files.to_string()])?.ok()?;
    node.sh(&format!("rmdir {folder}"))?;
    let rates = printed.lines().map(str::parse).collect::<Result<Vec<f64>, _>>();
    let rates = rates.with_context(|| format!("the loop printed {printed:?}"))?;
    ensure!(rates.iter().all(|rate| *rate > 0.0), "the loop printed {printed:?}");
    rates.try_into().map_err(|_| anyhow::anyhow!("the loop printed {printed:?}"))
}
