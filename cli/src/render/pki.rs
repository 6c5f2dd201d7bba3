//! What `pki` made, and what certificates say.

use rampool_proto::tls::ENDS_SOON_DAYS;

use super::look::{Look, Tone};
use super::table::{cell, table, text, toned};
use crate::output::{CertificateReport, Certificates, MadeFiles, Moment, Report};

impl Report for MadeFiles {
    fn text(&self, _: &Look) -> String {
        self.files.iter().map(|file| format!("{}\n", file.display())).collect()
    }
}

impl Report for Certificates {
    fn text(&self, look: &Look) -> String {
        let mut table = table(&["FILE", "ROLE", "NAMES", "ADDRESSES", "ENDS", ">DAYS"], look);
        for certificate in &self.certificates {
            let addresses: Vec<String> =
                certificate.addresses.iter().map(ToString::to_string).collect();
            table.add_row([
                cell(certificate.file.display()),
                cell(or_none(&certificate.roles)),
                cell(or_none(&certificate.names)),
                cell(or_none(&addresses)),
                cell(certificate.ends_at.map_or_else(|| "-".into(), Moment::short)),
                days(certificate),
            ]);
        }
        text(&table)
    }
}

fn days(certificate: &CertificateReport) -> comfy_table::Cell {
    match certificate.days_left {
        ..0 => toned("ended", Tone::Bad),
        left if left <= ENDS_SOON_DAYS.into() => toned(&left.to_string(), Tone::Warning),
        left => cell(left),
    }
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() { "-".into() } else { words.join(",") }
}
