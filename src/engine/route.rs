//! Which upstream, and which of its models, stands behind the name that a client uses.

use super::catalog::ModelMetadata;

/// Where the requests for some names go.
#[derive(Debug, Clone)]
pub struct Route {
    /// The names.
    pub names: Names,
    /// The upstream's place in the engine's list.
    pub upstream: usize,
    /// The upstream's own name of the model; `None` leaves the client's.
    pub model: Option<String>,
    /// The effort that is asked for, whatever the client does.
    pub effort: Option<String>,
    /// What clients are told of the model.
    pub metadata: ModelMetadata,
}

/// The names of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// This one.
    Exact(String),
    /// All that begin like this; the empty text is all names.
    Prefix(String),
}

/// All routes.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// Routes in the order of the configuration, the one for all other names last.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    /// The route of a name: its own entry, else the longest pattern that fits, the first of equals.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Route> {
        let fit = |route: &Route| match &route.names {
            Names::Exact(exact) => (exact == name).then_some(usize::MAX),
            Names::Prefix(start) => name.starts_with(start.as_str()).then_some(start.len()),
        };
        let mut best: Option<(usize, &Route)> = None;
        for route in &self.routes {
            if let Some(length) = fit(route)
                && best.is_none_or(|(longest, _)| length > longest)
            {
                best = Some((length, route));
            }
        }
        best.map(|(_, route)| route)
    }

    /// All routes, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }
}
