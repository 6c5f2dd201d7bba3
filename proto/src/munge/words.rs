//! What `unmunge --numeric` says of a credential that is good. Pure.

/// What a credential says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Who asked for it.
    pub(super) uid: u32,
    /// The address of the host where it was made, as that says.
    pub(super) host: String,
    /// What it is for.
    pub(super) payload: String,
}

/// Which lines are asked for.
pub(super) const KEYS: &str = "--keys=STATUS,ENCODE_HOST,UID,LENGTH";

impl Words {
    /// Reads them: a line for each key, an empty one, and the payload. Nothing where anything is
    /// not as it must be.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (lines, payload) = text.split_once("\n\n")?;
        let value = |key: &str| {
            let mut of_key = lines.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = of_key.find(|(name, _)| *name == key)?;
            Some(value.trim())
        };
        let good = value("STATUS")? == "0";
        let whole = value("LENGTH")?.parse() == Ok(payload.len());
        let uid = value("UID")?.parse().ok()?;
        let host = value("ENCODE_HOST")?.to_owned();
        (good && whole).then(|| Self { uid, host, payload: payload.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "STATUS:          0\nENCODE_HOST:      10.0.0.3\n\
                        UID:              1001\nLENGTH:           5\n\nhello";

    #[test]
    fn a_good_credential_says_who_and_what_for() {
        let words = Words::read(GOOD).unwrap();
        assert_eq!((words.uid, &*words.host, &*words.payload), (1001, "10.0.0.3", "hello"));
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        for (from, to) in [
            (" 0\n", " 17\n"),
            ("1001", "alice (1001)"),
            ("1001", "-1"),
            ("1001", "4294967296"),
            ("UID:", "GID:"),
            ("5\n", "4\n"),
            ("hello", "hello\n"),
            ("\n\n", "\n"),
        ] {
            assert_eq!(Words::read(&GOOD.replacen(from, to, 1)), None, "{from:?} {to:?}");
        }
    }

    proptest! {
        #[test]
        fn a_payload_says_nothing_of_who_it_is(payload in "(\\PC|\n){0,60}") {
            let text = format!(
                "STATUS: 0\nENCODE_HOST: h\nUID: 7\nLENGTH: {}\n\n{payload}", payload.len()
            );
            let words = Words::read(&text).unwrap();
            prop_assert_eq!((words.uid, words.payload), (7, payload));
        }

        #[test]
        fn no_text_ends_the_process(text in "(\\PC|\n|:){0,200}") {
            let _ = Words::read(&text);
        }
    }
}
