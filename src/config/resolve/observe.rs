//! The sections `[metrics]` and `[tracing]`.

use std::net::SocketAddr;

use url::Url;

use super::super::raw::{RawMetrics, RawTracing};
use super::super::{Listen, Metrics, Server, Tracing};
use super::Resolver;

/// Where a collector takes traces, below its address.
const TRACES_PATH: &str = "/v1/traces";

impl Resolver<'_> {
    pub(super) fn metrics(&mut self, raw: &RawMetrics, server: &Server) -> Metrics {
        let listen = raw.listen.as_deref().filter(|text| !text.is_empty());
        let listen = listen.and_then(|text| {
            let address = text.parse();
            if address.is_err() {
                let help = "write it as ADDRESS:PORT, like 127.0.0.1:9464 or 0.0.0.0:9464";
                let message = format!("`{text}` is not an address");
                self.wrong(&["metrics", "listen"], &message, Some(help.to_owned()));
            }
            address.ok()
        });
        let is_taken = |address: &SocketAddr| {
            address.port() != 0 && server.listen.contains(&Listen::Tcp(*address))
        };
        if listen.as_ref().is_some_and(is_taken) {
            let help = "leave it out to have /metrics among the other paths";
            let message = "clients are served there (`listen` in [server])";
            self.wrong(&["metrics", "listen"], message, Some(help.to_owned()));
        }
        Metrics {
            enabled: raw.enabled.unwrap_or(true),
            listen,
        }
    }

    /// The variables are those that all programs with OpenTelemetry know; the file goes before them.
    pub(super) fn tracing(&mut self, raw: &RawTracing) -> Tracing {
        let variable = |name: &str| {
            let value = self.env.get(name).map(|value| value.trim());
            value.filter(|value| !value.is_empty())
        };
        let is = |name: &str, word: &str| {
            variable(name).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        let off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
        let whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(str::to_owned);
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned);
        let path = ["tracing", "otlp_endpoint"];
        let own = raw.otlp_endpoint.as_deref();
        let endpoint = if let Some(text) = own.filter(|text| !text.is_empty()) {
            let url = self.endpoint(&path, text);
            url.map(|url| if url.path() == "/" { below(url) } else { url })
        } else if off || own.is_some() {
            None
        } else if let Some(text) = whole {
            self.endpoint(&path, &text)
        } else {
            base.and_then(|text| self.endpoint(&path, &text)).map(below)
        };
        let ratio = raw.sample_ratio;
        if ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            self.wrong(&["tracing", "sample_ratio"], "must be from 0 to 1", None);
        }
        Tracing {
            endpoint,
            sample_ratio: ratio,
            timeout: self.time(&["tracing", "timeout_ms"], raw.timeout_ms, 10_000),
        }
    }

    fn endpoint(&mut self, path: &[&str], text: &str) -> Option<Url> {
        let url = Url::parse(text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            let help = "write it as http://HOST:4318; a key goes into OTEL_EXPORTER_OTLP_HEADERS";
            let message = "this is not the address of a collector";
            self.wrong(path, message, Some(help.to_owned()));
        }
        url
    }
}

fn below(mut url: Url) -> Url {
    let path = format!("{}{TRACES_PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}
