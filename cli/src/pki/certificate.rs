//! What is in the certificates.

use rampool_proto::tls::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};
use zeroize::{Zeroize, Zeroizing};

use super::{Address, MOST_DAYS};

/// Certificates are good from this long ago, so that a node whose clock is behind takes them.
const CLOCK_SLACK: Duration = Duration::hours(24);

/// A certificate and its key, as PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
}

/// A key that is wiped when it is dropped.
struct Key(KeyPair);

impl Key {
    fn new() -> Result<Self, Error> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self)
    }

    fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A new CA.
pub(super) fn authority() -> Result<Made, Error> {
    let key = Key::new()?;
    let certificate = authority_params().self_signed(&key.0)?;
    Ok(Made { certificate: certificate.pem(), key: key.pem() })
}

fn authority_params() -> CertificateParams {
    let mut params = good_for(MOST_DAYS);
    params.distinguished_name.push(DnType::CommonName, "rampool cluster CA");
    // It signs end certificates alone: no further authority below it.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The CA, ready to sign.
pub(super) fn issuer(certificate: &str, key: &str) -> Result<Issuer<'static, KeyPair>, Error> {
    Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)
}

/// Whom a certificate is for.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) roles: &'a [Role],
    pub(super) name: &'a str,
    pub(super) addresses: &'a [Address],
}

/// A party's certificate, and a new key.
pub(super) fn of_party(
    issuer: &Issuer<'_, KeyPair>,
    subject: &Subject<'_>,
    days: u16,
) -> Result<Made, Error> {
    let key = Key::new()?;
    let certificate = params(subject, days)?.signed_by(&key.0, issuer)?;
    Ok(Made { certificate: certificate.pem(), key: key.pem() })
}

fn params(subject: &Subject<'_>, days: u16) -> Result<CertificateParams, Error> {
    let Subject { roles, name, addresses } = *subject;
    let mut params = good_for(i64::from(days));
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    for role in roles {
        params.subject_alt_names.push(SanType::URI(role.uri().as_str().try_into()?));
    }
    for address in addresses {
        let alternative = match address {
            Address::Ip(ip) => SanType::IpAddress(*ip),
            Address::Dns(dns) => SanType::DnsName(dns.as_str().try_into()?),
        };
        if !params.subject_alt_names.contains(&alternative) {
            params.subject_alt_names.push(alternative);
        }
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn good_for(days: i64) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - CLOCK_SLACK;
    params.not_after = now + Duration::days(days);
    params.distinguished_name = DistinguishedName::new();
    params
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
