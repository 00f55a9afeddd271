//! `[server]`, as far as it says where is listened, and how a connection is protected.

use std::net::SocketAddr;

use super::Resolver;
use crate::config::raw::{RawList, RawServer, RawTls};
use crate::config::{Listen, Tls};

/// How a unix socket may be used if nothing is said: by its owner and its group.
const UNIX_MODE: u32 = 0o660;

impl Resolver<'_> {
    /// Where is listened; at least one place.
    pub(super) fn listen(&mut self, raw: Option<&RawList>) -> Vec<Listen> {
        let default = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8787)));
        let Some(RawList(texts)) = raw else {
            return vec![default];
        };
        let mut all: Vec<Listen> = Vec::with_capacity(texts.len());
        for text in texts {
            let Some(listen) = self.listener(text) else {
                continue;
            };
            let any_port = matches!(listen, Listen::Tcp(address) if address.port() == 0);
            if all.contains(&listen) && !any_port {
                self.wrong(&PATH, &format!("`{listen}` is there twice"), None);
            }
            all.push(listen);
        }
        if texts.is_empty() {
            let help = "leave it out for 127.0.0.1:8787".to_owned();
            self.wrong(&PATH, "there is nothing to listen on", Some(help));
        }
        all
    }

    fn listener(&mut self, text: &str) -> Option<Listen> {
        if let Some(path) = text.strip_prefix("unix:") {
            // As some write it, like a URL.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                let help = "write it as unix:/path/to/the.sock".to_owned();
                self.wrong(&PATH, &format!("`{text}` has no path"), Some(help));
                return None;
            }
            if cfg!(not(unix)) {
                self.wrong(&PATH, "there are no unix sockets on this system", None);
                return None;
            }
            return Some(Listen::Unix(self.path(&PATH, path)));
        }
        match text.parse() {
            Ok(address) => Some(Listen::Tcp(address)),
            Err(_) => {
                let help = match text.split_once(':') {
                    Some(("" | "localhost", port)) => format!("write it as 127.0.0.1:{port}"),
                    _ if text.contains('/') => format!("a unix socket is written as unix:{text}"),
                    _ => "write it as ADDRESS:PORT, like 127.0.0.1:8787 or [::1]:8787".to_owned(),
                };
                self.wrong(&PATH, &format!("`{text}` is not an address"), Some(help));
                None
            }
        }
    }

    /// Who may use the unix sockets, as `chmod` has it.
    pub(super) fn unix_mode(&mut self, raw: &RawServer) -> u32 {
        let Some(text) = &raw.unix_mode else {
            return UNIX_MODE;
        };
        let mode = u32::from_str_radix(text, 8);
        mode.ok().filter(|mode| *mode <= 0o777).unwrap_or_else(|| {
            let help = "three octal digits say who may use it, like \"0660\"".to_owned();
            let message = format!("`{text}` is not a mode");
            self.wrong(&["server", "unix_mode"], &message, Some(help));
            UNIX_MODE
        })
    }

    /// The certificate and its key, read.
    pub(super) fn tls(&mut self, raw: Option<&RawTls>) -> Option<Tls> {
        let raw = raw?;
        let mut file = |key: &str, named: Option<&str>| {
            let path = ["server", "tls", key];
            let named = named?;
            Some((self.path(&path, named), self.read(&path, named)?))
        };
        let cert = file("cert_file", raw.cert_file.as_deref());
        let key = file("key_file", raw.key_file.as_deref());
        let client_ca = file("client_ca_file", raw.client_ca_file.as_deref());
        let (cert_missing, key_missing) = (raw.cert_file.is_none(), raw.key_file.is_none());
        if cert_missing || key_missing {
            let missing = if cert_missing {
                "cert_file"
            } else {
                "key_file"
            };
            let help = "both are files with PEM; without TLS, leave the section out".to_owned();
            let message = format!("it has no `{missing}`");
            self.wrong(&["server", "tls"], &message, Some(help));
        }
        let ((cert_file, cert_pem), (key_file, key_pem)) = (cert?, key?);
        let (client_ca_file, client_ca_pem) = client_ca.unzip();
        Some(Tls {
            cert_file,
            cert_pem,
            key_file,
            key_pem: key_pem.into(),
            client_ca_file,
            client_ca_pem,
        })
    }
}

const PATH: [&str; 2] = ["server", "listen"];
