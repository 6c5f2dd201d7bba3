//! CHAP, both ways: names that are no secret, and two secrets drawn afresh for each export,
//! which live in the kernel alone.

use std::path::Path;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::ChapSecrets;
use rand::RngExt;
use rand::distr::Alphanumeric;
use secrecy::{ExposeSecret, SecretString};

use crate::configfs;
use crate::names;
use crate::outcome::{Change, Outcome};

/// 40 letters and digits: 238 bits. RFC 7143 asks for 96; some initiators take no more than 64
/// characters.
const LENGTH: usize = 40;

/// What LIO shows for a value that was never written.
const UNSET: [&str; 2] = ["", "NULL"];

const FILES: [&str; 4] = ["userid", "password", "userid_mutual", "password_mutual"];

/// The credentials in an ACL's `auth` folder, drawn and written if they are not whole.
pub(super) fn ensure(auth: &Path, assembly: &Assembly) -> Outcome<(Change, ChapSecrets)> {
    if let Some(secrets) = read(auth)? {
        return Ok((Change::Already, secrets));
    }
    // The two names must differ from each other in nothing but being two.
    let (user, back) = (names::object(assembly), format!("{}.back", names::object(assembly)));
    let values = [SecretString::from(user), draw(), SecretString::from(back), draw()];
    for (file, value) in FILES.iter().zip(&values) {
        configfs::write_secret(&auth.join(file), value.expose_secret())?;
    }
    let [user, password, mutual_user, mutual_password] =
        values.map(|value| value.expose_secret().to_owned());
    Ok((Change::Made, ChapSecrets { user, password, mutual_user, mutual_password }))
}

/// What an ACL demands, if all four values were written.
fn read(auth: &Path) -> Outcome<Option<ChapSecrets>> {
    let mut values = Vec::with_capacity(FILES.len());
    for file in FILES {
        let value = configfs::read(&auth.join(file))?;
        if UNSET.contains(&value.as_str()) {
            return Ok(None);
        }
        values.push(value);
    }
    let [user, password, mutual_user, mutual_password] =
        <[String; 4]>::try_from(values).expect("one value was pushed for each of four files");
    Ok(Some(ChapSecrets { user, password, mutual_user, mutual_password }))
}

/// A secret of the operating system's generator.
fn draw() -> SecretString {
    let secret: String =
        rand::rng().sample_iter(Alphanumeric).take(LENGTH).map(char::from).collect();
    SecretString::from(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;

    #[test]
    fn secrets_are_drawn_once_and_read_back_after() {
        let folder = tempfile::tempdir().unwrap();
        for file in FILES {
            std::fs::write(folder.path().join(file), "\n").unwrap();
        }
        let (change, made) = ensure(folder.path(), &assembly("demo.3")).unwrap();
        assert_eq!(change, Change::Made);
        assert_eq!(
            (made.user.as_str(), made.mutual_user.as_str()),
            ("rp.demo.3", "rp.demo.3.back")
        );
        assert_ne!(made.password, made.mutual_password);
        assert_eq!(made.password.len(), LENGTH);
        assert!(made.password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let (change, again) = ensure(folder.path(), &assembly("demo.3")).unwrap();
        assert_eq!((change, again), (Change::Already, made));
    }

    #[test]
    fn half_written_credentials_are_drawn_anew() {
        let folder = tempfile::tempdir().unwrap();
        for (file, value) in FILES.iter().zip(["rp.demo.3", "old", "NULL", "NULL"]) {
            std::fs::write(folder.path().join(file), value).unwrap();
        }
        let (change, made) = ensure(folder.path(), &assembly("demo.3")).unwrap();
        assert_eq!(change, Change::Made);
        assert_ne!(made.password, "old");
    }
}
