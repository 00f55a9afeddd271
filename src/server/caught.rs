//! A request that panics is answered all the same.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;

use super::error::Failure;
use crate::responses::ErrorObject;
use crate::upstream::Refusal;

pin_project! {
    /// An answer on its way; a 500 if making it panics. Unlike a layer for it, it leaves the body as it is.
    pub(super) struct Caught<F> {
        #[pin]
        answer: F,
    }
}

impl<F> Caught<F> {
    pub(super) fn new(answer: F) -> Self {
        Self { answer }
    }
}

impl<F: Future<Output = Response>> Future for Caught<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let answer = self.project().answer;
        // What panicked is not polled again, and what it shares with others is behind locks that tell.
        match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(panicked(&*panic)),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(
        panic = what,
        "a request panicked: this is a fault of the proxy"
    );
    let error = ErrorObject::server("The proxy failed in an unforeseen way; its log says how.");
    Failure(Refusal::new(500, error)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let response = Caught::new(async { panic!("so it goes") }).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let response = Caught::new(async { StatusCode::NO_CONTENT.into_response() }).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
}
