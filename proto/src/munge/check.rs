//! The controller's side: who makes a call, by the credential that it carries.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::Request;

use super::program::{self, No};
use super::words::{KEYS, Words};
use super::{DEADLINE, LARGEST_REQUEST, LONGEST_CREDENTIAL, METADATA, purpose};
use crate::v1::{Failure, FailureKind};

/// How many credentials are decoded at once, a process each: the others wait their turn.
const AT_ONCE: usize = 16;

/// Finds out whose calls are.
#[derive(Clone, Debug)]
pub struct Checker {
    program: Arc<Path>,
    room: Arc<Semaphore>,
}

/// Whose a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The user who asked munged for the credential.
    pub uid: u32,
    /// The address of the host where that was, as it says.
    pub host: String,
}

impl Checker {
    /// By the `unmunge` of this folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { program: folder.join("unmunge").into(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whose this call is, and the call with its credential taken off. Everything is read, within
    /// limits, before anything is believed.
    pub async fn check(&self, request: Request<Body>) -> Result<(Claim, Request<Body>), Failure> {
        let (mut parts, body) = request.into_parts();
        let mut values = parts.headers.get_all(METADATA).iter();
        let credential = match (values.next(), values.next()) {
            (Some(only), None) => only.clone(),
            (None, _) => return Err(denied("it carries no credential of MUNGE")),
            _ => return Err(denied("it carries more than one credential")),
        };
        parts.headers.remove(METADATA);
        let body = timeout(DEADLINE, Limited::new(body, LARGEST_REQUEST).collect()).await;
        let body = body.map_err(|_| denied("its request did not come in time"))?;
        let bytes = body.map_err(|error| denied(format!("its request: {error}")))?.to_bytes();
        let claim = self.claim(credential.as_bytes(), parts.uri.path(), &bytes).await?;
        Ok((claim, Request::from_parts(parts, Body::new(Full::new(bytes)))))
    }

    async fn claim(&self, credential: &[u8], method: &str, body: &[u8]) -> Result<Claim, Failure> {
        if credential.len() > LONGEST_CREDENTIAL || !looks_right(credential) {
            return Err(denied("what it carries is no credential of MUNGE"));
        }
        let turn = timeout(DEADLINE, self.room.acquire()).await;
        let _turn = turn.map_err(|_| {
            Failure::new(FailureKind::NotNow, "recognise the caller")
                .saying("too many credentials wait to be decoded")
                .advising("try again in a minute")
        })?;
        let said = program::run(&self.program, &["--numeric", KEYS], credential).await;
        let said = said.map_err(|no| match no {
            No::Broken(failure) => failure,
            No::Said(said, status) => {
                denied(format!("its credential is not taken: {}", why(&said, status)))
            }
        })?;
        let words = Words::read(&said)
            .ok_or_else(|| denied("of its credential unmunge says what makes no sense"))?;
        if words.payload != purpose::of(method, body) {
            return Err(denied("its credential is for something else"));
        }
        Ok(Claim { uid: words.uid, host: words.host })
    }
}

/// Of a credential that is whole and not good any more unmunge says why by its exit code alone (the
/// numbers are of `munge_err_t` in munge.h).
fn why(said: &str, status: ExitStatus) -> String {
    match (status.code(), said) {
        (Some(15), _) => "it has expired".to_owned(),
        (Some(16), _) => "it was made in the future: the clocks of both hosts differ".to_owned(),
        (Some(17), _) => "it was replayed: it was used before".to_owned(),
        (_, "") => status.to_string(),
        (_, said) => said.to_owned(),
    }
}

/// `MUNGE:`, Base64, `:`.
fn looks_right(credential: &[u8]) -> bool {
    let inner = credential.strip_prefix(b"MUNGE:").and_then(|rest| rest.strip_suffix(b":"));
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    inner.is_some_and(|inner| !inner.is_empty() && inner.iter().all(base64))
}

fn denied(said: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Denied, "recognise the caller").saying(said)
}

#[cfg(test)]
mod tests {
    use super::super::Signer;
    use super::*;

    /// A program that a test writes cannot always be run at once; this one can, and does what is
    /// written beside it.
    const FAKE_COMMAND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../slurm/tests/fake-command");

    /// Stand-ins for `munge`, whose credential is what it was given, and `unmunge`, whose user is 7.
    /// What the real ones do is tried where they are (`tests/slurm/users.rs`).
    fn programs(unmunge: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let munge = "echo \"MUNGE:$(base64 -w0):\"\n";
        for (name, text) in [("munge", munge), ("unmunge", unmunge)] {
            std::fs::write(folder.path().join(format!("{name}.does")), text).unwrap();
            std::os::unix::fs::symlink(FAKE_COMMAND, folder.path().join(name)).unwrap();
        }
        folder
    }

    const UNMUNGE: &str = r#"payload=$(sed 's/^MUNGE://; s/:$//' | base64 -d)
printf 'STATUS: 0\nENCODE_HOST: 10.0.0.3\nUID: 7\nLENGTH: %s\n\n%s' ${#payload} "$payload"
"#;

    const METHOD: &str = "/rampool.v1.Controller/Up";

    fn request(credentials: &[&str], body: &'static [u8]) -> Request<Body> {
        let mut request = Request::new(Body::new(Full::from(body)));
        *request.uri_mut() = METHOD.parse().unwrap();
        for credential in credentials {
            request.headers_mut().append(METADATA, credential.parse().unwrap());
        }
        request
    }

    async fn refusal(folder: &Path, request: Request<Body>) -> Failure {
        Checker::of(folder).check(request).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_call_with_its_own_credential_is_its_users_and_arrives_whole() {
        let folder = programs(UNMUNGE);
        let credential = Signer::of(folder.path()).credential(METHOD, b"pool").await.unwrap();
        let asked = request(&[&credential], b"pool");
        let (claim, call) = Checker::of(folder.path()).check(asked).await.unwrap();
        assert_eq!(claim, Claim { uid: 7, host: "10.0.0.3".into() });
        assert!(!call.headers().contains_key(METADATA), "a credential goes no further");
        assert_eq!(call.into_body().collect().await.unwrap().to_bytes(), "pool".as_bytes());
    }

    #[tokio::test]
    async fn a_credential_for_another_call_is_refused() {
        let folder = programs(UNMUNGE);
        let signer = Signer::of(folder.path());
        let other_body = signer.credential(METHOD, b"other").await.unwrap();
        let other_method = signer.credential("/rampool.v1.Controller/Down", b"pool").await.unwrap();
        for credential in [other_body, other_method] {
            let told = refusal(folder.path(), request(&[&credential], b"pool")).await;
            assert_eq!(told.kind(), FailureKind::Denied);
            assert!(told.said.contains("for something else"), "{told}");
        }
    }

    #[tokio::test]
    async fn no_credential_two_of_them_and_nonsense_never_reach_munged() {
        let folder = programs("echo reached >&2\nexit 1\n");
        let long = format!("MUNGE:{}:", "A".repeat(LONGEST_CREDENTIAL));
        let many: [&[&str]; 6] =
            [&[], &["MUNGE:AAAA:", "MUNGE:AAAA:"], &["x"], &["MUNGE::"], &["MUNGE:A A:"], &[&long]];
        for credentials in many {
            let told = refusal(folder.path(), request(credentials, b"")).await;
            assert_eq!(told.kind(), FailureKind::Denied);
            assert!(!told.said.contains("reached"), "{told}");
        }
    }

    #[tokio::test]
    async fn what_unmunge_refuses_is_told_in_its_words_and_one_that_is_missing_is_named() {
        let folder = programs("echo 'unmunge: Error: Invalid credential' >&2\nexit 8\n");
        let told = refusal(folder.path(), request(&["MUNGE:AAAA:"], b"")).await;
        assert_eq!(told.kind(), FailureKind::Denied);
        assert!(told.said.contains("Invalid credential"), "{told}");
        let folder = programs("exit 17\n");
        let told = refusal(folder.path(), request(&["MUNGE:AAAA:"], b"")).await;
        assert!(told.said.contains("it was replayed"), "{told}");
        let none = tempfile::tempdir().unwrap();
        let told = refusal(none.path(), request(&["MUNGE:AAAA:"], b"")).await;
        assert!(told.program.ends_with("/unmunge") && told.advice.contains("munged"), "{told}");
    }

    #[tokio::test]
    async fn a_request_larger_than_any_is_not_read_to_its_end() {
        let folder = programs(UNMUNGE);
        let large: &'static [u8] = Box::leak(vec![0; LARGEST_REQUEST + 1].into_boxed_slice());
        let told = refusal(folder.path(), request(&["MUNGE:AAAA:"], large)).await;
        assert!(told.said.contains("length limit"), "{told}");
    }
}
