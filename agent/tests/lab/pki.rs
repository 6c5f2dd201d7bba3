//! A cluster CA, and certificates of it for the parties of a test.

use std::os::unix::fs::PermissionsExt;

use rampool_proto::tls::{Credentials, Role, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// What all of them are called by; connections say so whatever the address.
pub(crate) const NAME: &str = "rampool-test";

/// The CA.
pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca: String,
}

/// Texts of a party's two files.
pub(crate) struct Party {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pki {
    pub(crate) fn make() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca }
    }

    /// The same, whose parties trust those of another.
    pub(crate) fn trusting(self, other: &Self) -> Self {
        Self { ca: other.ca.clone(), ..self }
    }

    pub(crate) fn issue(&self, role: Option<Role>) -> Party {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let uri = |role: Role| SanType::URI(role.uri().as_str().try_into().unwrap());
        params.subject_alt_names.extend(role.map(uri));
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Party { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A client of that role, by files that are read as any process reads them.
    pub(crate) fn client(&self, role: Option<Role>) -> Credentials {
        let party = self.issue(role);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let files = TlsFiles {
            ca: write("ca.pem", &self.ca),
            cert: write("cert.pem", &party.cert),
            key: write("key.pem", &party.key),
        };
        files.load().unwrap()
    }
}
