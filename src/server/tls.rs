//! TLS towards clients: the certificate that is shown, which may be exchanged while connections come.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// HTTP/2's name where clients and servers agree on a protocol.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A certificate and what belongs to it, as PEM.
#[derive(Clone, Copy)]
pub struct Pem<'p> {
    /// The certificate, and those that lead to its issuer.
    pub cert: &'p str,
    /// Its key.
    pub key: &'p str,
    /// Whose clients are let in; `None` lets all in.
    pub client_ca: Option<&'p str>,
}

/// Why no connection can be protected so.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is nothing in the file.
    #[error("there is no certificate in `cert_file`")]
    NoCertificate,
    /// There is nothing in the file.
    #[error("there is no certificate in `client_ca_file`")]
    NoClientCa,
    /// Something in it is broken.
    #[error("`{0}` cannot be read: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    /// Nothing in it can be trusted.
    #[error("`client_ca_file`: {0}")]
    ClientCa(String),
    /// Key and certificate do not fit together, or are of a kind that is not known.
    #[error("the certificate or its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What is agreed on with clients. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

impl Tls {
    /// Begins with this.
    #[must_use]
    pub fn new(settings: Arc<ServerConfig>) -> Self {
        Self(Arc::new(ArcSwap::new(settings)))
    }

    /// Connections that come from now on get this.
    pub fn replace(&self, settings: Arc<ServerConfig>) {
        self.0.store(settings);
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// What connections are to be protected by.
///
/// # Errors
/// See [`TlsError`].
pub fn tls_settings(pem: Pem<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates("cert_file", pem.cert)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes())
        .map_err(|error| TlsError::Pem("key_file", error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match pem.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("client_ca_file", pem)? {
                roots
                    .add(root)
                    .map_err(|error| TlsError::ClientCa(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoClientCa);
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| TlsError::ClientCa(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut settings = builder.with_single_cert(chain, key)?;
    settings.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(Arc::new(settings))
}

fn certificates(file: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem(file, error))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn made() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn error(cert: &str, key: &str, client_ca: Option<&str>) -> String {
        tls_settings(Pem {
            cert,
            key,
            client_ca,
        })
        .map_or_else(|error| error.to_string(), |_| "none".to_owned())
    }

    #[test]
    fn what_is_wrong_is_said() {
        let ((cert, key), (other, _)) = (made(), made());
        let broken = cert.replace("-----END", "-----");
        for (cert, key, client_ca, said) in [
            (&*cert, &*key, None, "none"),
            (&cert, &key, Some(&*other), "none"),
            (&key, &key, None, "no certificate in `cert_file`"),
            (&cert, &cert, None, "`key_file` cannot be read"),
            (&other, &key, None, "cannot be used"),
            (&broken, &key, None, "`cert_file` cannot be read"),
            (
                &cert,
                &key,
                Some(&*key),
                "no certificate in `client_ca_file`",
            ),
        ] {
            let error = error(cert, key, client_ca);
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("BEGIN"), "{error}");
        }
    }
}
