//! The controller's word on jobs. A controller that is not there is waited for: it may be just
//! starting again, and a hook that gives up costs a node or a job's turn. What it says counts.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use rampool_proto::v1::jobs_client::JobsClient;
use rampool_proto::v1::*;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use super::config::SlurmConfig;
use crate::client::{Way, failure_of};

/// Between two tries to reach the controller.
const PAUSE: Duration = Duration::from_secs(1);

/// The controller's patience ends this long before ours, so that its words arrive: it knows what
/// is waited for.
const MARGIN: Duration = Duration::from_secs(2);

type Client = JobsClient<Channel>;

/// The controller, for one question.
pub(super) struct Jobs<'a> {
    way: Way<'a>,
    patience: Duration,
    end: Instant,
}

/// Why a try brought no answer.
enum Trouble {
    /// The controller was not reached, or lost: another try may find it.
    Lost(Failure),
    /// That is the answer.
    Refused(Failure),
}

impl<'a> Jobs<'a> {
    /// The controller of the configuration that was read from `file`, with so much time from now
    /// on.
    pub(super) fn within(config: &'a SlurmConfig, file: &'a Path, patience: Duration) -> Self {
        Self { way: config.way(file), patience, end: Instant::now() + patience }
    }

    /// Has the job's pool made, and waits until it is there.
    pub(super) async fn start_job(&self, question: StartJobRequest) -> Result<(), Failure> {
        let step = format!("make the pool of job {}", job_of(question.id.as_ref()));
        self.ask(&step, async |client: Client, step: &str| self.made(client, step, &question).await)
            .await
    }

    async fn made(
        &self,
        mut client: Client,
        step: &str,
        question: &StartJobRequest,
    ) -> Result<(), Trouble> {
        let answer = client.start_job(self.timed(question.clone())).await;
        self.seen_through(step, answer).await
    }

    /// Has a job's memory reserved, and waits until it is.
    pub(super) async fn reserve_job(&self, question: ReserveJobRequest) -> Result<(), Failure> {
        let step = format!("reserve the memory of job {}", job_of(question.id.as_ref()));
        self.ask(&step, async |mut client: Client, step: &str| {
            let patience_seconds = self.patience_seconds();
            let question = ReserveJobRequest { patience_seconds, ..question.clone() };
            let answer = client.reserve_job(self.timed(question)).await;
            self.seen_through(step, answer).await
        })
        .await
    }

    /// Follows events to their end.
    async fn seen_through(
        &self,
        step: &str,
        answer: Result<Response<Streaming<Event>>, Status>,
    ) -> Result<(), Trouble> {
        let trouble = |status: &Status| self.trouble(status, step);
        let mut events = answer.map_err(|status| trouble(&status))?.into_inner();
        while let Some(event) = events.next().await {
            let event = event.map_err(|status| trouble(&status))?;
            match event.kind() {
                EventKind::Finished => return Ok(()),
                EventKind::GaveUp => {
                    let said = || Failure::new(FailureKind::Failed, step).saying(event.text);
                    return Err(Trouble::Refused(event.failure.unwrap_or_else(said)));
                }
                _ => {}
            }
        }
        Err(Trouble::Lost(
            Failure::new(FailureKind::Failed, step).saying("the stream of events ended early"),
        ))
    }

    /// Whether the job may start on a node.
    pub(super) async fn admit_node(
        &self,
        question: AdmitNodeRequest,
    ) -> Result<AdmitNodeResponse, Failure> {
        let step = format!("let job {} start on {}", job_of(question.id.as_ref()), question.node);
        self.ask(&step, async |mut client: Client, step: &str| {
            let patience_seconds = self.patience_seconds();
            let question = AdmitNodeRequest { patience_seconds, ..question.clone() };
            self.answer(step, client.admit_node(self.timed(question)).await)
        })
        .await
    }

    /// Waits until a node holds nothing of a job.
    pub(super) async fn leave_node(
        &self,
        question: LeaveNodeRequest,
    ) -> Result<LeaveNodeResponse, Failure> {
        let id = job_of(question.id.as_ref());
        let step = format!("free what job {id} had on {}", question.node);
        self.ask(&step, async |mut client: Client, step: &str| {
            let patience_seconds = self.patience_seconds();
            let question = LeaveNodeRequest { patience_seconds, ..question.clone() };
            self.answer(step, client.leave_node(self.timed(question)).await)
        })
        .await
    }

    /// Says that a job is over, and waits until donors outside of it have their memory back.
    pub(super) async fn end_job(&self, question: EndJobRequest) -> Result<EndJobResponse, Failure> {
        let step = format!("say that job {} is over", job_of(question.id.as_ref()));
        self.ask(&step, async |mut client: Client, step: &str| {
            let patience_seconds = self.patience_seconds();
            let question = EndJobRequest { patience_seconds, ..question.clone() };
            self.answer(step, client.end_job(self.timed(question)).await)
        })
        .await
    }

    /// Asks until there is an answer, or the time is over.
    async fn ask<A>(
        &self,
        step: &str,
        question: impl AsyncFn(Client, &str) -> Result<A, Trouble>,
    ) -> Result<A, Failure> {
        let dial = self.way.prepare()?;
        let mut lost = None;
        loop {
            let attempt = async {
                let channel = self.way.connect(&dial).await.map_err(Trouble::Lost)?;
                question(Client::new(channel), step).await
            };
            match timeout_at(self.end, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Trouble::Refused(failure))) => return Err(failure),
                Ok(Err(Trouble::Lost(failure))) => lost = Some(failure),
                Err(_) => return Err(self.too_late(step, lost)),
            }
            let again = Instant::now() + PAUSE;
            if again >= self.end {
                return Err(self.too_late(step, lost));
            }
            sleep_until(again).await;
        }
    }

    /// How long the controller may wait for what is on its way.
    fn patience_seconds(&self) -> u32 {
        let left = self.end.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        left.as_secs().try_into().unwrap_or(u32::MAX)
    }

    /// The question with the time that is left for it, so that the controller knows.
    fn timed<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        request.set_timeout(self.end.saturating_duration_since(Instant::now()));
        request
    }

    fn answer<A>(&self, step: &str, answer: Result<Response<A>, Status>) -> Result<A, Trouble> {
        answer.map(Response::into_inner).map_err(|status| self.trouble(&status, step))
    }

    fn trouble(&self, status: &Status, step: &str) -> Trouble {
        let failure = failure_of(status, &self.way.peer(), step);
        // What the connection says where it broke; a controller's own words have details.
        let broken = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
        match status.details().is_empty() && broken.contains(&status.code()) {
            true => Trouble::Lost(failure),
            false => Trouble::Refused(failure),
        }
    }

    fn too_late(&self, step: &str, lost: Option<Failure>) -> Failure {
        let late = Failure::new(FailureKind::TimedOut, step).on(self.way.peer());
        let seconds = self.patience.as_secs();
        match lost {
            Some(lost) => late
                .saying(format!("not reached within {seconds} s; {}: {}", lost.step, lost.said))
                .advising(lost.advice),
            None => late
                .saying(format!("no answer within {seconds} s"))
                .advising("`rampool list` and the controller's log say what it waits for"),
        }
    }
}

fn job_of(id: Option<&JobId>) -> u32 {
    id.map_or(0, |id| id.job)
}
