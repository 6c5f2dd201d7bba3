//! The README at a pool's root: people come to trust scratch, so it says there what it is.

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::{Placement, PoolSpec};

/// Its text. `contact` is whom to ask; empty: nobody is named.
#[must_use]
pub fn text(assembly: &Assembly, spec: &PoolSpec, placement: &Placement, contact: &str) -> String {
    let mut lines = vec![
        "THIS FILE SYSTEM IS VOLATILE: IT IS MEMORY, AND IT WILL BE GONE.".to_owned(),
        String::new(),
        format!("It is the rampool pool \"{}\" (assembly {assembly}),", assembly.name),
        format!(
            "made of the memory of {} nodes: {}.",
            placement.pieces.len(),
            Size(placement.usable_bytes)
        ),
        "Nothing in it survives `rampool down`, nor a reboot or power cut of the head or of"
            .to_owned(),
        "any one of those nodes. Copy what you want to keep to real storage.".to_owned(),
        String::new(),
        match spec.lease_seconds {
            0 => "It lives until somebody takes it down.".to_owned(),
            seconds => format!(
                "It was asked for {}, from when it was mounted.",
                humantime::format_duration(std::time::Duration::from_secs(seconds))
            ),
        },
    ];
    if !spec.owner.is_empty() {
        lines.push(format!("It was asked for by {}.", spec.owner));
    }
    if !contact.is_empty() {
        lines.push(format!("Questions: {contact}"));
    }
    lines.push(format!("More: rampool status {}", assembly.name));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_volatile_whose_until_when_and_whom_to_ask() {
        let assembly = "demo.7".parse().unwrap();
        let spec = PoolSpec { lease_seconds: 43_200, owner: "ada".into(), ..PoolSpec::default() };
        let text = text(&assembly, &spec, &Placement::default(), "ops@example.org");
        for word in
            ["VOLATILE", "demo", "demo.7", "12h", "ada", "ops@example.org", "rampool status"]
        {
            assert!(text.contains(word), "{word} is missing in:\n{text}");
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn without_lease_owner_or_contact_it_has_no_empty_claims() {
        let assembly = "demo.1".parse().unwrap();
        let text = text(&assembly, &PoolSpec::default(), &Placement::default(), "");
        assert!(text.contains("until somebody takes it down"));
        assert!(!text.contains("asked for by") && !text.contains("Questions"));
    }
}
