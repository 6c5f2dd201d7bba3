//! The text of `scontrol -o show`: words `Name=value`, where a value may have blanks in it.

use std::collections::BTreeMap;

/// One job or node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    line: String,
    values: BTreeMap<String, String>,
}

impl Fields {
    /// Of one line. A word without `=`, or with anything but a name before it, belongs to the
    /// value before.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut values: Vec<(String, String)> = Vec::new();
        for word in line.split(' ') {
            match (word.split_once('='), values.last_mut()) {
                (Some((name, value)), _) if is_name(name) => {
                    values.push((name.to_owned(), value.to_owned()));
                }
                (_, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(word);
                }
                (_, None) => {}
            }
        }
        let values =
            values.into_iter().map(|(name, value)| (name, value.trim_end().to_owned())).collect();
        Self { line: line.to_owned(), values }
    }

    /// A field's value; empty where there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }
}

/// e.g. `JobState`, `CPU_IDs`, `NtasksPerN:B:S:C`.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_:/".contains(c))
}

/// As Slurm said it.
impl std::fmt::Display for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_have_blanks_and_signs_in_it() {
        let fields = Fields::parse(
            "JobId=7 JobState=PENDING Reason=launch failed requeued held Comment=a=b rampool:size=1G \
             AdminComment=rampool: n3 says x=1, try later NtasksPerN:B:S:C=0:0:*:*  ",
        );
        assert_eq!(fields.get("JobState"), "PENDING");
        assert_eq!(fields.get("Reason"), "launch failed requeued held");
        assert_eq!(fields.get("Comment"), "a=b rampool:size=1G");
        assert_eq!(fields.get("AdminComment"), "rampool: n3 says x=1, try later");
        assert_eq!(fields.get("NtasksPerN:B:S:C"), "0:0:*:*");
        assert_eq!(fields.get("Nothing"), "");
    }
}
