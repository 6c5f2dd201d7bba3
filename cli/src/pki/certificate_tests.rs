use super::*;

fn days_from_now(moment: OffsetDateTime) -> i64 {
    (moment - OffsetDateTime::now_utc() + Duration::minutes(1)).whole_days()
}

#[test]
fn a_party_serves_and_dials_in_its_role_under_its_name_and_addresses_for_its_days() {
    let addresses: Vec<Address> =
        ["10.0.0.1", "fd00::1", "n1.ib", "n1"].map(|a| a.parse().unwrap()).into();
    let subject = Subject { roles: &[Role::Agent], name: "n1", addresses: &addresses };
    let params = params(&subject, 90).unwrap();
    let expected = [
        SanType::DnsName("n1".try_into().unwrap()),
        SanType::URI("rampool:agent".try_into().unwrap()),
        SanType::IpAddress("10.0.0.1".parse().unwrap()),
        SanType::IpAddress("fd00::1".parse().unwrap()),
        SanType::DnsName("n1.ib".try_into().unwrap()),
    ];
    assert_eq!(params.subject_alt_names, expected);
    assert_eq!(params.is_ca, IsCa::NoCa);
    assert_eq!((days_from_now(params.not_before), days_from_now(params.not_after)), (0, 90));
    assert!(params.not_before < OffsetDateTime::now_utc() - Duration::hours(23));
    assert_eq!(params.extended_key_usages.len(), 2);
}

#[test]
fn the_authority_signs_end_certificates_alone_for_ten_years() {
    let params = authority_params();
    assert_eq!(params.is_ca, IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_eq!(days_from_now(params.not_after), 3650);
}

#[test]
fn what_is_made_reads_back_as_a_p256_authority() {
    let made = authority().unwrap();
    let issuer = issuer(&made.certificate, &made.key).unwrap();
    assert_eq!(issuer.key().algorithm(), &PKCS_ECDSA_P256_SHA256);
    let subject = Subject { roles: &[Role::Operator], name: "admin", addresses: &[] };
    assert!(of_party(&issuer, &subject, 1).is_ok());
}
