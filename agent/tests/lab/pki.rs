//! A cluster CA and one certificate that every process of a test uses.

use rampool_proto::tls::{Credentials, Role, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// What the certificate is called by; connections say so whatever the address.
pub(crate) const NAME: &str = "rampool-test";

/// Texts of the three files.
pub(crate) struct Pki {
    pub(crate) ca: String,
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pki {
    pub(crate) fn make() -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let roles = [Role::Controller, Role::Agent].map(Role::uri);
        let uris = roles.map(|role| SanType::URI(role.as_str().try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let cert = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        Self { ca: ca_cert.pem(), cert: cert.pem(), key: key.serialize_pem() }
    }

    /// The client's side, read from files as any process reads them.
    pub(crate) fn credentials(&self) -> Credentials {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let files = TlsFiles {
            ca: write("ca.pem", &self.ca),
            cert: write("cert.pem", &self.cert),
            key: write("key.pem", &self.key),
        };
        files.load().unwrap()
    }
}
