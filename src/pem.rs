//! PEM texts of certificates and keys, as read from the files a configuration names: parsed, and
//! checked to belong together. Refuses to know which connection they are for.
//!
//! A bad text is a finding about a file, so that `plan` calls this when a configuration is read and
//! `downstream::tls` when a connection is configured.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

/// What a side of a connection proves itself with.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// The certificates of `text` as the only roots that are trusted.
pub fn roots(text: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(text)? {
        store
            .add(certificate)
            .map_err(|error| format!("a certificate cannot be a root: {error}"))?;
    }
    Ok(store)
}

/// A certificate chain, the leaf first, with the key of its leaf.
pub fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, String> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "no private key in PEM form was found".to_owned())?;
    CertifiedKey::from_der(
        chain.clone(),
        key.clone_key(),
        &aws_lc_rs::default_provider(),
    )
    .map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate".into(),
        other => format!("the certificate or its key cannot be used: {other}"),
    })?;
    Ok(Identity { chain, key })
}

/// A name or an address that a certificate can be for.
pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` is neither a host name nor an address"))
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|_| "the text is not valid PEM".to_owned())?;
    if certificates.is_empty() {
        return Err("no certificate in PEM form was found".to_owned());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["users.internal".to_owned()])
            .expect("a certificate can be made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let (certificate, key) = made();
        assert_eq!(roots(certificate.as_bytes()).unwrap().len(), 1);
        let found = identity(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(found.chain.len(), 1);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        fn check(text: &[u8], expected: &str) {
            assert_eq!(roots(text).unwrap_err(), expected);
        }
        check(b"", "no certificate in PEM form was found");
        check(b"hello", "no certificate in PEM form was found");
        check(
            b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            "the text is not valid PEM",
        );
        let (_, key) = made();
        check(key.as_bytes(), "no certificate in PEM form was found");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((certificate, _), (_, key)) = (made(), made());
        let found = identity(certificate.as_bytes(), key.as_bytes()).err();
        assert_eq!(
            found.as_deref(),
            Some("the key does not belong to the certificate")
        );
        let found = identity(certificate.as_bytes(), b"").err();
        assert_eq!(
            found.as_deref(),
            Some("no private key in PEM form was found")
        );
    }

    #[test]
    fn a_server_name_is_a_name_or_an_address() {
        assert!(server_name("users.internal").is_ok());
        assert!(server_name("10.0.0.5").is_ok());
        assert!(server_name("not a name").is_err());
        assert!(server_name("").is_err());
    }
}
