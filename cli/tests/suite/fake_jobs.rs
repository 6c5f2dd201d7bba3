//! A controller that knows nothing of jobs: it answers what a test wrote down, and remembers what
//! it was asked.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use rampool_proto::v1::jobs_server::Jobs;
use rampool_proto::v1::*;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

/// What it was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Start(StartJobRequest),
    Admit(AdmitNodeRequest),
    Leave(LeaveNodeRequest),
    End(EndJobRequest),
    Reserve(ReserveJobRequest),
}

/// What the stream of a start does next.
#[derive(Clone)]
pub(crate) enum Next {
    Send(EventKind),
    GiveUp(Failure),
    /// Says nothing more and does not end.
    Hang,
}

#[derive(Clone, Default)]
pub(crate) struct FakeJobs {
    /// Ends after the last.
    script: Vec<Next>,
    refusal: Option<Failure>,
    /// Answers nothing.
    silent: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// The time that each question allowed.
    allowed: Arc<Mutex<Vec<Duration>>>,
    /// How long it was to wait, of questions that say so: taken out of them, since it depends on
    /// how quick the test is.
    patience: Arc<Mutex<Vec<u32>>>,
    heard: Arc<Notify>,
    dropped: Arc<Notify>,
}

/// Tells when a stream is dropped.
struct Held(Arc<Notify>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl FakeJobs {
    pub(crate) fn playing(script: Vec<Next>) -> Self {
        Self { script, ..Self::default() }
    }

    pub(crate) fn refusing(failure: Failure) -> Self {
        Self { refusal: Some(failure), ..Self::default() }
    }

    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn allowed(&self) -> Vec<Duration> {
        self.allowed.lock().unwrap().clone()
    }

    pub(crate) fn patience(&self) -> Vec<u32> {
        self.patience.lock().unwrap().clone()
    }

    fn take_patience(&self, seconds: &mut u32) {
        self.patience.lock().unwrap().push(std::mem::take(seconds));
    }

    /// Waits until something has been asked.
    pub(crate) async fn hear(&self) {
        self.heard.notified().await;
    }

    /// Waits until a caller has gone from the stream of a start.
    pub(crate) async fn lose(&self) {
        self.dropped.notified().await;
    }

    /// The script's.
    fn events(&self) -> Response<Events> {
        let held = Held(Arc::clone(&self.dropped));
        let script = stream::iter(self.script.clone());
        Response::new(Box::pin(script.then(move |next| {
            let _held = &held;
            async move {
                Ok(match next {
                    Next::Send(kind) => Event { kind: kind.into(), ..Event::default() },
                    Next::GiveUp(failure) => Event {
                        kind: EventKind::GaveUp.into(),
                        failure: Some(failure),
                        ..Event::default()
                    },
                    Next::Hang => std::future::pending().await,
                })
            }
        })))
    }

    async fn note<Q>(&self, request: Request<Q>, as_asked: fn(Q) -> Asked) -> Result<(), Status> {
        let timeout = request.metadata().get("grpc-timeout").unwrap().to_str().unwrap();
        self.allowed.lock().unwrap().push(duration(timeout));
        self.asked.lock().unwrap().push(as_asked(request.into_inner()));
        self.heard.notify_one();
        if self.silent {
            std::future::pending::<()>().await;
        }
        self.refusal.clone().map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// gRPC's own way to write one: digits and a unit.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        odd => panic!("{odd} is no unit of a deadline of a hook"),
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Jobs for FakeJobs {
    type StartJobStream = Events;

    async fn start_job(&self, request: Request<StartJobRequest>) -> Answer<Events> {
        self.note(request, Asked::Start).await?;
        Ok(self.events())
    }

    type ReserveJobStream = Events;

    async fn reserve_job(&self, mut request: Request<ReserveJobRequest>) -> Answer<Events> {
        self.take_patience(&mut request.get_mut().patience_seconds);
        self.note(request, Asked::Reserve).await?;
        Ok(self.events())
    }

    async fn admit_node(
        &self,
        mut request: Request<AdmitNodeRequest>,
    ) -> Answer<AdmitNodeResponse> {
        self.take_patience(&mut request.get_mut().patience_seconds);
        self.note(request, Asked::Admit).await?;
        Ok(Response::new(AdmitNodeResponse { mount_point: "/rampool/7".into() }))
    }

    async fn leave_node(
        &self,
        mut request: Request<LeaveNodeRequest>,
    ) -> Answer<LeaveNodeResponse> {
        self.take_patience(&mut request.get_mut().patience_seconds);
        self.note(request, Asked::Leave).await?;
        Ok(Response::new(LeaveNodeResponse { already: false }))
    }

    async fn end_job(&self, mut request: Request<EndJobRequest>) -> Answer<EndJobResponse> {
        self.take_patience(&mut request.get_mut().patience_seconds);
        self.note(request, Asked::End).await?;
        Ok(Response::new(EndJobResponse {}))
    }
}
