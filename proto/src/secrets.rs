//! Keeps CHAP secrets out of every log, and out of memory that is given back: their `Debug` shows
//! that they are there, never what they are, and what they were is wiped with them.

use std::fmt;

use zeroize::Zeroize;

use crate::v1::ChapSecrets;

impl fmt::Debug for ChapSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChapSecrets(..)")
    }
}

impl Drop for ChapSecrets {
    fn drop(&mut self) {
        self.password.zeroize();
        self.mutual_password.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{ChapSecrets, Export, Target};

    #[test]
    fn a_secret_is_not_printed_even_from_within_other_messages() {
        let export = Export {
            target: Some(Target {
                chap: Some(ChapSecrets {
                    user: "hidden-user".into(),
                    password: "hidden-word".into(),
                    mutual_user: "hidden-back".into(),
                    mutual_password: "hidden-return".into(),
                }),
                ..Target::default()
            }),
            ..Export::default()
        };
        let printed = format!("{export:?}");
        assert!(printed.contains("ChapSecrets(..)"), "{printed}");
        assert!(!printed.contains("hidden"), "{printed}");
    }
}
