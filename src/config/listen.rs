//! Where is listened, how it is protected, and how it is reached from here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

use super::Server;

/// A place to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address; with port 0 the system picks one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// `[server.tls]`: how connections over TCP are protected.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The file with the certificate, and those that lead to its issuer.
    pub cert_file: PathBuf,
    /// What is in it, as PEM.
    pub cert_pem: String,
    /// The file with its key.
    pub key_file: PathBuf,
    /// What is in it, as PEM.
    pub key_pem: SecretString,
    /// The file with the issuers of the certificates that clients must show; without one they need none.
    pub client_ca_file: Option<PathBuf>,
    /// What is in it, as PEM.
    pub client_ca_pem: Option<String>,
}

impl Listen {
    /// Whether other machines may reach it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Server {
    /// What a URL for an address over TCP begins with.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Where it is listened: as URLs, or as `unix:PATH`.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let place = |listen: &Listen| match listen {
            Listen::Tcp(address) => format!("{}://{address}", self.scheme()),
            Listen::Unix(_) => listen.to_string(),
        };
        self.listen.iter().map(place).collect()
    }

    /// The addresses at which programs on this machine reach it, the best first: one that is for this
    /// machine alone does not go away with a network.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for listen in &self.listen {
            if let Listen::Tcp(address) = listen {
                addresses.push(SocketAddr::new(nearest(address.ip()), address.port()));
            }
        }
        addresses.sort_by_key(|address| !address.ip().is_loopback());
        addresses
    }
}

/// Every address is not one that can be called.
fn nearest(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
