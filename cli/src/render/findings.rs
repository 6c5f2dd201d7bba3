//! What `doctor` found: the worst first, each with the line that mends it, fit to be copied.

use std::fmt::Write;

use super::look::{Look, Tone};
use super::plain::one_line;
use crate::output::{FindingReport, Findings, Level, Report};

impl Report for Findings {
    fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            out.push_str(&lines(finding, look));
        }
        let [errors, warnings, fine] =
            [Level::Error, Level::Warning, Level::Ok].map(|level| self.count(level));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{errors} to mend, {warnings} to look at, {fine} as it should be");
        out
    }
}

fn lines(finding: &FindingReport, look: &Look) -> String {
    let (word, tone) = match finding.severity {
        Level::Error => ("ERROR", Tone::Bad),
        Level::Warning => ("WARNING", Tone::Warning),
        Level::Ok => ("ok", Tone::Good),
    };
    let word = look.paint(tone, &format!("{word:<8}"));
    let node = finding.node.as_deref().map(|node| format!("{}: ", one_line(node)));
    let text = one_line(&finding.text);
    let mut lines = format!("{word} {}{text}\n", node.unwrap_or_default());
    if let Some(fix) = &finding.fix {
        let _ = writeln!(lines, "{:<8}   fix: {}", "", one_line(fix));
    }
    lines
}
