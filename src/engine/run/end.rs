//! How an answer ends: told, forgotten for another one, or cut off.

use super::super::over;
use super::super::structured::Judgement;
use super::super::tell::Telling;
use super::{Run, Source, Step};
use crate::responses::{ErrorObject, Usage};
use crate::time::unix_now;
use crate::translate::{Ending, Sink};
use crate::upstream::Refusal;

impl Run {
    /// The process ends, and does not wait for the answer. What was all there but for the upstream's
    /// last word is whole nevertheless.
    pub(super) fn cut_off(&mut self, sink: &mut dyn Sink) -> Step {
        // Nobody else is asked.
        self.journey = None;
        let cut_off = match self.finished {
            Some(_) => None,
            None => Some(over::cut_off(self.settings.watch.closing())),
        };
        self.end(cut_off, sink)
    }

    /// What is wrong with the answer at its end, so that another one may be asked for.
    fn flaw(&mut self, cause: Option<&Refusal>, sink: &mut dyn Sink) -> Option<Refusal> {
        let wrong = match (&mut self.check, &mut self.pipeline) {
            (Some(check), _) => check.close()?,
            (None, Some(pipeline)) => {
                pipeline.close(&mut Telling::new(&mut *sink, &self.settings.upstream))?
            }
            (None, None) => return None,
        };
        let wrong = self.settings.upstream.without_secrets(wrong);
        Some(cause.cloned().unwrap_or_else(|| failure(&wrong)))
    }

    /// The answer is over, for a cause or because nothing more comes: tells so, unless another one may be
    /// asked for.
    pub(super) fn end(&mut self, cause: Option<Refusal>, sink: &mut dyn Sink) -> Step {
        let upstream = &self.settings.upstream;
        let cause = cause.map(|refusal| Refusal {
            error: upstream.without_secrets(refusal.error.clone()),
            ..refusal
        });
        if let Some(refusal) = self.flaw(cause.as_ref(), sink)
            && self.go_on(refusal)
        {
            return Step::Read;
        }
        let broke = cause.clone();
        let cause = cause.map(|refusal| refusal.error);
        let may_repair = self.journey.is_some();
        let judgement = self
            .check
            .as_mut()
            .map(|check| check.judge(cause.clone(), may_repair));
        let (bytes, cause, spent) = match judgement {
            None => (Vec::new(), cause, Usage::default()),
            Some(Judgement::Tell(bytes, cause, spent)) => (bytes, cause, spent),
            Some(Judgement::Again(chat)) => {
                self.repair(chat);
                return Step::Read;
            }
        };
        let Some(mut pipeline) = self.pipeline.take() else {
            return Step::Read;
        };
        self.journey = None;
        let upstream = &self.settings.upstream;
        let mut sink = Telling::new(sink, upstream);
        pipeline.spend(spent);
        if !bytes.is_empty() {
            pipeline.push(&bytes, &mut sink);
        }
        let so_far = self.spent_so_far(&pipeline);
        let upstream = &self.settings.upstream;
        let (mut outcome, estimated) =
            pipeline.finish(cause, unix_now(), self.settings.asked, &mut sink);
        if let Ending::Failed(error) = &mut outcome.ending {
            *error = upstream.without_secrets(error.clone());
        }
        self.tell_spent(outcome.usage.or(so_far));
        match (self.trial.take(), outcome.failure()) {
            (Some(trial), Some(error)) => {
                let refusal = broke.unwrap_or_else(|| failure(error));
                self.blame(&refusal);
                trial.failed(&refusal);
            }
            (Some(trial), None) => trial.succeeded(),
            (None, _) => {}
        }
        if let Some(account) = self.account.take() {
            account.ended(&outcome, estimated);
        }
        // What failed is closed at once: the upstream may still be at work.
        if let Source::Answer(body) = std::mem::replace(&mut self.source, Source::Over)
            && outcome.failure().is_none()
        {
            body.release();
        }
        Step::Over(Box::new(outcome))
    }
}

/// What an answer's failure says about its upstream.
fn failure(error: &ErrorObject) -> Refusal {
    let refusal = Refusal::of_failure(error.clone());
    let passing = refusal.fault.moves_on() && refusal.status != 404;
    Refusal { passing, ..refusal }
}
