//! What the tests are made with: the built proxy, a small HTTP client, a scripted upstream, a strict
//! reader of event streams, and real programs.

pub(crate) mod events;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod pages;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod real;
pub(crate) mod scrape;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod upstream;
