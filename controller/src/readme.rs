//! The README at a pool's root: people come to trust scratch, so it says there what it is.

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::{AtExpiry, Placement, PoolSpec, Redundancy};

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
    ];
    lines.extend(survival(placement).iter().map(|line| (*line).to_owned()));
    lines.extend([
        "Copy what you want to keep to real storage.".to_owned(),
        String::new(),
        match spec.lease_seconds {
            0 => "It lives until somebody takes it down.".to_owned(),
            seconds => format!(
                "It was asked for {}, from when it was mounted.",
                humantime::format_duration(std::time::Duration::from_secs(seconds))
            ),
        },
    ]);
    if spec.lease_seconds > 0 && spec.at_expiry() == AtExpiry::Release {
        lines.push("At the end of that time IT IS DELETED, whoever uses it.".to_owned());
    }
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

/// What it survives, in lines of the text.
fn survival(placement: &Placement) -> &'static [&'static str] {
    match placement.redundancy() {
        Redundancy::None | Redundancy::Unspecified => &[
            "Nothing in it survives `rampool down`, nor a reboot or power cut of any one of those",
            "nodes: there is no redundancy. A head that lends nothing may be lost: `rampool failover`.",
        ],
        Redundancy::Mirror => &[
            "Each block is on two of those nodes (mirror): any one of them may be lost, and the",
            "head. Nothing survives `rampool down`, nor the loss of two nodes with the same block.",
        ],
        Redundancy::Parity => &[
            "Any one of those nodes may be lost (parity), or the head, not both at once. Nothing",
            "survives `rampool down`, nor the loss of two nodes.",
        ],
        Redundancy::DoubleParity => &[
            "Any two of those nodes may be lost (double parity), or the head, not both at once.",
            "Nothing survives `rampool down`, nor the loss of three nodes.",
        ],
    }
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
    fn it_says_what_may_be_lost_and_that_a_lease_deletes() {
        let text = |redundancy: Redundancy| {
            let spec = PoolSpec {
                lease_seconds: 60,
                at_expiry: AtExpiry::Release.into(),
                ..PoolSpec::default()
            };
            let placement = Placement { redundancy: redundancy.into(), ..Placement::default() };
            super::text(&"demo.1".parse().unwrap(), &spec, &placement, "")
        };
        for (redundancy, words) in [
            (Redundancy::None, "there is no redundancy"),
            (Redundancy::Mirror, "any one of them may be lost"),
            (Redundancy::Parity, "Any one of those nodes may be lost (parity)"),
            (Redundancy::DoubleParity, "Any two of those nodes may be lost"),
        ] {
            let text = text(redundancy);
            assert!(text.contains(words), "{words} is missing in:\n{text}");
            assert!(text.contains("IT IS DELETED"), "{text}");
        }
    }

    #[test]
    fn without_lease_owner_or_contact_it_has_no_empty_claims() {
        let assembly = "demo.1".parse().unwrap();
        let text = text(&assembly, &PoolSpec::default(), &Placement::default(), "");
        assert!(text.contains("until somebody takes it down"));
        assert!(!text.contains("asked for by") && !text.contains("Questions"));
    }
}
