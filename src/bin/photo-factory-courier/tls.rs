//! Whether a server's certificate is one to believe.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use photo_factory::courier::{Failed, Trust};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

/// Judges certificates by a [`Trust`], and remembers the fingerprint of the last one.
#[derive(Debug)]
pub(crate) struct Judge {
    trust: Trust,
    /// Those that this machine knows; asked where the trust is public.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<String>>,
}

impl Judge {
    /// [`Failed::Refused`] where authorities are needed and this machine knows none.
    pub(crate) fn new(trust: &Trust) -> Result<Self, Failed> {
        let provider = Arc::new(ring::default_provider());
        let authorities = match trust {
            Trust::Public => Some(authorities(&provider)?),
            Trust::FirstUse | Trust::Pinned(_) => None,
        };
        Ok(Self {
            trust: trust.clone(),
            authorities,
            provider,
            found: Mutex::new(None),
        })
    }

    /// The settings of a TLS client that believes whom this judge believes.
    pub(crate) fn client(self: &Arc<Self>) -> Result<ClientConfig, Failed> {
        let client = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| Failed::Broken(why.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        Ok(client)
    }

    /// The last certificate's fingerprint.
    pub(crate) fn found(&self) -> Option<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    /// What a refused certificate is told as.
    pub(crate) fn refusal(&self) -> Failed {
        Failed::Certificate {
            wanted: match &self.trust {
                Trust::Pinned(wanted) => Some(wanted.clone()),
                Trust::Public | Trust::FirstUse => None,
            },
            found: self.found().unwrap_or_default(),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = fingerprint(certificate);
        let is_pinned = matches!(&self.trust, Trust::Pinned(wanted) if *wanted == found);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        match (&self.trust, &self.authorities) {
            (Trust::Public, Some(authorities)) => {
                authorities.verify_server_cert(certificate, intermediates, server, ocsp, now)
            }
            (Trust::FirstUse, _) => Ok(ServerCertVerified::assertion()),
            (Trust::Pinned(_), _) if is_pinned => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    // A certificate is public: that the server has its key is what these two prove, whatever the trust.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Those that the system's own store names.
fn authorities(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|why| {
            Failed::Refused(format!(
                "this machine knows no authorities that vouch for certificates ({why}); install the package ca-certificates"
            ))
        })
}

/// The name or address that a server's certificate must be for.
pub(crate) fn name_in_certificates(host: &str) -> Result<ServerName<'static>, Failed> {
    ServerName::try_from(host.to_owned())
        .map_err(|why| Failed::Refused(format!("no certificate can be for its name: {why}")))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(certificate) {
        // Writing to a string can't fail.
        write!(digits, "{byte:02x}").unwrap_or_default();
    }
    digits
}
