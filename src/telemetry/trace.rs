//! Spans for traces, in OpenTelemetry's terms: one for a request, one for each call of an upstream, named
//! by the conventions for HTTP and for generative AI. Nothing that people or models say is in them.
//!
//! Where nobody collects traces they are nothing: a span that is not wanted costs one look at a flag.
//! Then the trace that a client brings is passed on to the upstream as it is.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Array, StringValue, Value};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::span::Id;
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use super::series::Tokens;
use crate::time::Instant;

/// What all these spans have as their target, so that they are told from the log's.
pub const TARGET: &str = "antiphon::trace";

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest of these headers that is passed on; the standard wants room for 512 characters.
const LONGEST: usize = 1024;

/// What the conventions call the makers of some dialects; others go by the dialect's name.
const PROVIDERS: [(&str, &str); 5] = [
    ("azure", "azure.ai.openai"),
    ("gemini", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("moonshot", "moonshot_ai"),
    ("xai", "x_ai"),
];

/// Which trace something belongs to, in the headers of W3C's Trace Context.
#[derive(Debug, Clone, Default)]
pub struct TraceContext {
    parent: Option<HeaderValue>,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// The trace that a client brings.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let short = |name| {
            let value: Option<&HeaderValue> = headers.get(name);
            value.filter(|value| value.len() <= LONGEST).cloned()
        };
        let parent = short(TRACE_PARENT);
        let state = parent.as_ref().and_then(|_| short(TRACE_STATE));
        Self { parent, state }
    }

    /// Puts it into the headers of a request.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Some(parent) = &self.parent {
            headers.insert(TRACE_PARENT, parent.clone());
        }
        if let Some(state) = &self.state {
            headers.insert(TRACE_STATE, state.clone());
        }
    }
}

/// The span of a request, within the trace that the client brings.
#[must_use]
pub fn of_request(method: &str, route: &str, path: &str, brought: &TraceContext) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        url.path = path,
    );
    within(&span, brought);
    span
}

/// The span of work that no HTTP request stands for by itself: a message of a `WebSocket`, a response in
/// the background.
#[must_use]
pub fn of_work(name: &str, brought: &TraceContext) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "work",
        otel.name = name,
        otel.kind = "consumer",
    );
    within(&span, brought);
    span
}

fn within(span: &Span, brought: &TraceContext) {
    if !span.is_disabled() {
        let mut headers = HeaderMap::new();
        brought.write(&mut headers);
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(&headers));
        // It fails for spans that are not collected, which is as well.
        let _ = span.set_parent(parent);
    }
}

/// The request was answered with this status, or began to be.
pub fn answered(span: &Span, status: u16) {
    if !span.is_disabled() {
        span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.set_attribute("error.type", status.to_string());
            span.set_status(Status::error(""));
        }
    }
}

/// The id of the trace that a span belongs to, if it is collected.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// One call of an upstream. Its span ends when it is dropped.
#[derive(Debug)]
pub struct Call {
    span: Span,
    since: Instant,
}

/// What an upstream is called for.
#[derive(Debug, Clone, Copy)]
pub struct Called<'a> {
    /// The upstream's name in the configuration.
    pub upstream: &'a str,
    /// The name of its dialect.
    pub dialect: &'a str,
    /// Its host.
    pub host: &'a str,
    /// Its port.
    pub port: Option<u16>,
    /// The model, by its name there.
    pub model: &'a str,
    /// Whether the answer is streamed.
    pub stream: bool,
}

impl Call {
    /// Begins within the request that is being worked on.
    #[must_use]
    pub fn begin(called: Called<'_>) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            parent: request(),
            "chat",
            otel.name = %format_args!("chat {}", called.model),
            otel.kind = "client",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = provider(called.dialect),
            gen_ai.request.model = called.model,
            gen_ai.request.stream = called.stream,
            server.address = called.host,
            server.port = called.port.map(i64::from),
            antiphon.upstream = called.upstream,
        );
        Self {
            span,
            since: Instant::now(),
        }
    }

    /// Which trace the upstream's work belongs to: this call's, or where that is not collected, the one
    /// that the client brought.
    #[must_use]
    pub fn context(&self, brought: &TraceContext) -> TraceContext {
        if self.span.is_disabled() {
            return brought.clone();
        }
        let mut headers = HeaderMap::new();
        let propagator = TraceContextPropagator::new();
        propagator.inject_context(&self.span.context(), &mut HeaderInjector(&mut headers));
        TraceContext::of(&headers)
    }

    /// It came to its end: the response's id and ending, its tokens, and when the client first heard of it.
    pub fn ended(self, id: &str, finish: &'static str, tokens: Tokens, first: Option<Instant>) {
        let span = &self.span;
        if span.is_disabled() {
            return;
        }
        span.set_attribute("gen_ai.response.id", id.to_owned());
        let finish = Array::String(vec![StringValue::from(finish)]);
        span.set_attribute("gen_ai.response.finish_reasons", Value::Array(finish));
        for (name, count) in [
            ("gen_ai.usage.input_tokens", tokens.input),
            ("gen_ai.usage.cache_read.input_tokens", tokens.cached),
            ("gen_ai.usage.output_tokens", tokens.output),
            ("gen_ai.usage.reasoning.output_tokens", tokens.reasoning),
        ] {
            span.set_attribute(name, i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(first) = first {
            let seconds = first.saturating_duration_since(self.since).as_secs_f64();
            span.set_attribute("gen_ai.response.time_to_first_chunk", seconds);
        }
    }

    /// It failed; `kind` is a word, `message` has no secrets.
    pub fn failed(self, kind: String, message: &str) {
        if !self.span.is_disabled() {
            self.span.set_attribute("error.type", kind);
            self.span.set_status(Status::error(message.to_owned()));
        }
    }
}

/// The span of the request that is being worked on: the nearest one of this kind around the current span,
/// which is the log's.
fn request() -> Option<Id> {
    if !tracing::enabled!(target: TARGET, Level::INFO) {
        return None;
    }
    let found = Span::current().with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>()?;
        let mut around = registry.span(id)?.scope();
        around.find_map(|span| (span.metadata().target() == TARGET).then(|| span.id()))
    });
    found.flatten()
}

fn provider(dialect: &str) -> &str {
    let known = PROVIDERS.iter().find(|(name, _)| *name == dialect);
    known.map_or(dialect, |(_, provider)| provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(parent: &str, state: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACE_PARENT, parent.parse().unwrap());
        headers.insert(TRACE_STATE, state.parse().unwrap());
        headers
    }

    #[test]
    fn a_trace_is_passed_on_as_it_is_where_nobody_collects() {
        let brought = headers(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "a=1",
        );
        let call = Call::begin(Called {
            upstream: "u",
            dialect: "vllm",
            host: "h",
            port: None,
            model: "m",
            stream: true,
        });
        let mut sent = HeaderMap::new();
        call.context(&TraceContext::of(&brought)).write(&mut sent);
        assert_eq!(sent, brought);
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let long = "a=".to_owned() + &"x".repeat(LONGEST);
        let mut sent = HeaderMap::new();
        TraceContext::of(&headers("00-1-2-01", &long)).write(&mut sent);
        assert_eq!(sent.len(), 1);
        TraceContext::of(&headers(&long, "a=1")).write(&mut sent);
        assert_eq!(sent.get(TRACE_PARENT).unwrap(), "00-1-2-01");
        assert_eq!(sent.len(), 1);
    }
}
