//! What a credential is for, as it stands in it. Pure.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// The purpose of one call: its method (`/rampool.v1.Controller/Up`) and the bytes of its request as
/// they are sent. Nothing else has the same, and no other program's credential begins as it does.
pub(super) fn of(method: &str, request: &[u8]) -> String {
    let mut text = format!("rampool/1 {method} ");
    for byte in digest(&SHA256, request).as_ref() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_written_in_one_way() {
        // SHA-256 of nothing (FIPS 180-4).
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of("/a.B/C", b""), format!("rampool/1 /a.B/C {empty}"));
    }

    proptest! {
        #[test]
        fn another_method_or_request_is_another_purpose(
            method in "/[a-zA-Z.]{1,20}/[a-zA-Z]{1,10}", other in "/[a-zA-Z.]{1,20}/[a-zA-Z]{1,10}",
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            others in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let same = (&method, &bytes) == (&other, &others);
            prop_assert_eq!(of(&method, &bytes) == of(&other, &others), same);
        }
    }
}
