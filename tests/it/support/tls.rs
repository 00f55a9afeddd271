//! Certificates that are made for a test, and a client that trusts them.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// An issuer of certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name = named("the authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = named("the one");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A name, as some take a certificate whose issuer has the same for its own issuer.
fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// What a client is like.
pub(crate) struct Client<'c> {
    /// Whom it trusts.
    pub(crate) trusts: &'c Authority,
    /// What it can speak, the best first.
    pub(crate) protocols: &'c [&'c [u8]],
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    /// What it shows.
    pub(crate) identity: Option<&'c Identity>,
}

impl<'c> Client<'c> {
    pub(crate) fn of(trusts: &'c Authority) -> Self {
        Self {
            trusts,
            protocols: &[],
            versions: rustls::ALL_VERSIONS,
            identity: None,
        }
    }

    /// Connects to an address as `localhost`. The handshake is over when this returns, as far as the
    /// client is concerned.
    pub(crate) fn connect(
        &self,
        address: &str,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate(&self.trusts.pem))
            .expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.versions)
            .expect("versions that are there")
            .with_root_certificates(roots);
        let mut settings = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                builder
                    .with_client_auth_cert(vec![certificate(&identity.cert)], key)
                    .expect("a key for its certificate")
            }
        };
        settings.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client =
            ClientConnection::new(Arc::new(settings), name).expect("settings that fit");
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(client, socket))
    }
}

/// The certificate that a server showed.
pub(crate) fn shown(stream: &StreamOwned<ClientConnection, TcpStream>) -> Vec<u8> {
    let chain = stream.conn.peer_certificates().expect("it showed one");
    chain[0].as_ref().to_vec()
}

/// The first certificate of some PEM.
pub(crate) fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}
