//! The gRPC face: from hooks' messages to calls of this room. Thin.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use rampool_proto::v1;
use rampool_proto::v1::{Event, Failure, FailureKind};
use tonic::{Request, Response, Status};

use super::Jobs;

/// The service; without jobs where the configuration says nothing of Slurm.
pub struct JobsService(pub Option<Arc<Jobs>>);

impl JobsService {
    fn jobs(&self) -> Result<&Arc<Jobs>, Failure> {
        self.0.as_ref().ok_or_else(|| {
            Failure::new(FailureKind::NotNow, "find the job")
                .saying("this controller's configuration has no section `jobs`")
                .advising("examples/controller.yaml shows one")
        })
    }
}

#[tonic::async_trait]
impl v1::jobs_server::Jobs for JobsService {
    type StartJobStream = BoxStream<'static, Result<Event, Status>>;

    async fn start_job(
        &self,
        request: Request<v1::StartJobRequest>,
    ) -> Result<Response<Self::StartJobStream>, Status> {
        let (jobs, request) = (Arc::clone(self.jobs()?), request.into_inner());
        // A task of its own: of a caller who leaves before there are events to follow, it is the
        // events that know.
        let events = tokio::spawn(async move { jobs.start(request).await })
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(events.map(Ok).boxed()))
    }

    async fn admit_node(
        &self,
        request: Request<v1::AdmitNodeRequest>,
    ) -> Result<Response<v1::AdmitNodeResponse>, Status> {
        let patience = patience_of(&request);
        let mount_point = self.jobs()?.admit(request.into_inner(), patience).await?;
        Ok(Response::new(v1::AdmitNodeResponse { mount_point }))
    }

    async fn leave_node(
        &self,
        request: Request<v1::LeaveNodeRequest>,
    ) -> Result<Response<v1::LeaveNodeResponse>, Status> {
        let patience = patience_of(&request);
        let already = self.jobs()?.leave(request.into_inner(), patience).await?;
        Ok(Response::new(v1::LeaveNodeResponse { already }))
    }

    async fn end_job(
        &self,
        request: Request<v1::EndJobRequest>,
    ) -> Result<Response<v1::EndJobResponse>, Status> {
        self.jobs()?.end(&request.into_inner())?;
        Ok(Response::new(v1::EndJobResponse {}))
    }
}

/// Before a call's deadline an answer is on its way that says what is waited for.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// How long who sets no deadline is kept waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a call may wait.
fn patience_of<T>(request: &Request<T>) -> Duration {
    let timeout = request.metadata().get("grpc-timeout").and_then(|text| text.to_str().ok());
    let whole = timeout.and_then(duration);
    whole.map_or(PATIENCE, |whole| whole.saturating_sub(BEFORE_THE_END))
}

/// A time-out as gRPC writes it: at most eight digits and a unit (PROTOCOL-HTTP2.md, "Timeout").
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_until_shortly_before_its_deadline() {
        let with = |timeout: Duration| {
            let mut request = Request::new(());
            request.set_timeout(timeout);
            patience_of(&request)
        };
        assert_eq!(with(Duration::from_secs(60)), Duration::from_secs(58));
        assert_eq!(with(Duration::from_millis(2500)), Duration::from_millis(500));
        assert_eq!(with(Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(patience_of(&Request::new(())), PATIENCE);
    }

    #[test]
    fn what_is_no_time_out_is_none() {
        for text in ["", "5", "S", "123456789S", "5x", "-1S", "\u{fc}S", "1\u{fc}"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
