//! `rampool-witness`: runs on a lab's head, beside fio. See [`rampool_e2e::witness`].

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use rampool_e2e::witness::folder;
use rampool_e2e::witness::log::Log;

/// Makes files, tells each acknowledgement, and compares afterwards
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Makes files until it is killed; tells each on its standard output
    Write {
        /// Where, on the pool
        folder: PathBuf,
        /// The first file's number
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How many; for ever where not said
        #[arg(long)]
        count: Option<u64>,
    },
    /// Compares what is there with the log on its standard input
    Compare {
        /// Where, on the pool
        folder: PathBuf,
    },
}

fn main() -> Result<()> {
    match Options::parse().what {
        What::Write { folder, first, count } => {
            let mut out = std::io::stdout().lock();
            std::fs::create_dir_all(&folder).context("make the witness's folder")?;
            folder::write(&folder, first, count, folder::PAUSE, |line| {
                writeln!(out, "{line}")?;
                Ok(out.flush()?)
            })
        }
        What::Compare { folder } => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("read the log")?;
            let log = Log::parse(&text)?;
            let wrong = folder::compare(&folder, &log);
            ensure!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
            println!("{} acknowledgements hold", log.acknowledged());
            Ok(())
        }
    }
}
