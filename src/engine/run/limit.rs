//! What a run spends, told to the leave that its request has.

use super::{Run, Source};
use crate::responses::Usage;
use crate::translate::Pipeline;

impl Run {
    /// What was spent so far where nobody will say it, if anybody wants to know. An upstream that said
    /// nothing has spent nothing.
    pub(super) fn spent_so_far(&self, pipeline: &Pipeline) -> Option<Usage> {
        let permit = self.settings.permit.as_ref();
        let answers = matches!(self.source, Source::Answer(_));
        permit.filter(|permit| permit.counts_tokens() && answers)?;
        Some(pipeline.spent(self.settings.asked))
    }

    /// Tells what was spent.
    pub(super) fn tell_spent(&self, usage: Option<Usage>) {
        if let (Some(permit), Some(usage)) = (&self.settings.permit, usage) {
            permit.spend(usage.total_tokens);
        }
    }

    /// The client left: what the upstream read is spent, and what it wrote so far.
    pub(super) fn tell_left(&self, pipeline: &Pipeline) {
        if let Some(permit) = &self.settings.permit
            && permit.counts_tokens()
        {
            permit.spend(pipeline.spent(self.settings.asked).total_tokens);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(pipeline) = &self.pipeline {
            self.tell_left(pipeline);
        }
    }
}
