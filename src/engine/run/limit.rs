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
}

impl Drop for Run {
    /// The client left: what the upstream read is spent, and what it wrote so far.
    fn drop(&mut self) {
        let Some(pipeline) = &self.pipeline else {
            return;
        };
        let spent = pipeline.spent(self.settings.asked);
        if let Some(permit) = &self.settings.permit
            && permit.counts_tokens()
        {
            permit.spend(spent.total_tokens);
        }
        if let Some(account) = self.account.take() {
            let answers = matches!(self.source, Source::Answer(_));
            account.left(answers.then_some(spent));
        }
    }
}
