//! The numbers of one upstream, model and tenant: looked up once for a response, and then counted
//! without a lock.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::{FIRST, GAPS, Histogram, Tally, WHOLE, With};

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is whole.
    Completed,
    /// It was cut: by a limit, or a filter.
    Incomplete,
    /// It failed after it had begun.
    Failed,
    /// The client left.
    Cancelled,
    /// It never began.
    Refused,
}

impl Ended {
    const ALL: [Self; 5] = [
        Self::Completed,
        Self::Incomplete,
        Self::Failed,
        Self::Cancelled,
        Self::Refused,
    ];

    /// Its name, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }
}

/// Tokens of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All that were read, those from a cache included.
    pub input: u64,
    /// Of those, the ones from a cache.
    pub cached: u64,
    /// All that were written, thinking included.
    pub output: u64,
    /// Of those, thinking.
    pub reasoning: u64,
}

/// The numbers of one upstream, model and tenant.
#[derive(Debug)]
pub struct Series {
    ended: [Counter; Ended::ALL.len()],
    input: Counter,
    cached: Counter,
    output: Counter,
    reasoning: Counter,
    first: Histogram,
    gaps: Histogram,
    whole: Histogram,
}

impl Series {
    /// A response ended.
    pub fn ended(&self, how: Ended, took: Duration) {
        let counters = Ended::ALL.iter().zip(&self.ended);
        for (_, counter) in counters.filter(|(known, _)| **known == how) {
            counter.inc();
        }
        // How long it took to refuse says nothing of how long answers take.
        if how != Ended::Refused {
            self.whole.observe(took);
        }
    }

    /// Its tokens.
    pub fn tokens(&self, tokens: Tokens) {
        for (counter, count) in [
            (&self.input, tokens.input),
            (&self.cached, tokens.cached),
            (&self.output, tokens.output),
            (&self.reasoning, tokens.reasoning),
        ] {
            counter.inc_by(count);
        }
    }

    /// The first piece of an answer went to the client, so long after its request came.
    pub fn first(&self, after: Duration) {
        self.first.observe(after);
    }

    /// Adds gaps that a stream counted, which begins anew.
    pub fn gaps(&self, tally: &mut Tally) {
        self.gaps.add(tally);
    }
}

/// The families that series are members of.
#[derive(Debug)]
pub(super) struct Families {
    responses: Family<ResponseLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    first: Family<ModelLabels, Histogram, With>,
    gaps: Family<ModelLabels, Histogram, With>,
    whole: Family<ModelLabels, Histogram, With>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResponseLabels {
    upstream: Arc<str>,
    model: Arc<str>,
    tenant: Arc<str>,
    status: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    upstream: Arc<str>,
    model: Arc<str>,
    tenant: Arc<str>,
    kind: &'static str,
}

/// A tenant's answers take as long as others': histograms, which are large, do without it.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    upstream: Arc<str>,
    model: Arc<str>,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            responses: Family::default(),
            tokens: Family::default(),
            first: Family::new_with_constructor(With(&FIRST)),
            gaps: Family::new_with_constructor(With(&GAPS)),
            whole: Family::new_with_constructor(With(&WHOLE)),
        };
        registry.register(
            "antiphon_responses",
            "Responses by how they ended: completed, incomplete, failed, cancelled (the client left), refused",
            this.responses.clone(),
        );
        registry.register(
            "antiphon_tokens",
            "Tokens: input (cached ones included), cached, output (thinking included), reasoning",
            this.tokens.clone(),
        );
        registry.register(
            "antiphon_time_to_first_token_seconds",
            "From a request to the first piece of its answer that went to the client",
            this.first.clone(),
        );
        registry.register(
            "antiphon_inter_token_gap_seconds",
            "Between two pieces of an answer that is streamed",
            this.gaps.clone(),
        );
        registry.register(
            "antiphon_response_duration_seconds",
            "From a request to the end of its answer, refusals aside",
            this.whole.clone(),
        );
        this
    }

    pub(super) fn series(&self, upstream: &str, model: &Arc<str>, tenant: &Arc<str>) -> Series {
        let upstream: Arc<str> = upstream.into();
        let ended = Ended::ALL.map(|how| {
            self.responses.get_or_create_owned(&ResponseLabels {
                upstream: Arc::clone(&upstream),
                model: Arc::clone(model),
                tenant: Arc::clone(tenant),
                status: how.name(),
            })
        });
        let tokens = |kind| {
            self.tokens.get_or_create_owned(&TokenLabels {
                upstream: Arc::clone(&upstream),
                model: Arc::clone(model),
                tenant: Arc::clone(tenant),
                kind,
            })
        };
        let (input, cached) = (tokens("input"), tokens("cached"));
        let (output, reasoning) = (tokens("output"), tokens("reasoning"));
        let model = Arc::clone(model);
        let labels = ModelLabels { upstream, model };
        Series {
            ended,
            input,
            cached,
            output,
            reasoning,
            first: self.first.get_or_create_owned(&labels),
            gaps: self.gaps.get_or_create_owned(&labels),
            whole: self.whole.get_or_create_owned(&labels),
        }
    }
}
