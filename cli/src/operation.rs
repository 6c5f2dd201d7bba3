//! Following an operation that the controller runs. The operation is the controller's: it goes
//! on when this program leaves, however it leaves.

use futures::{Stream, StreamExt};
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, Pool};
use tonic::Status;

use crate::client::failure_of;
use crate::progress::Progress;

/// How following ended.
#[derive(Debug)]
pub enum Ended {
    /// The operation ended well, and this is its pool now, if it is one pool's.
    Well(Option<Box<Pool>>),
    /// The caller had enough; the operation goes on.
    Interrupted,
}

/// Shows each event until the operation ends or `interrupt` does. `operation` names it in
/// errors, e.g. "up of demo".
pub async fn follow(
    mut events: impl Stream<Item = Result<Event, Status>> + Unpin,
    operation: &str,
    progress: &mut dyn Progress,
    interrupt: impl Future<Output = ()>,
) -> Result<Ended, Failure> {
    tokio::pin!(interrupt);
    let ended = loop {
        let event = tokio::select! {
            // What has arrived counts before Ctrl-C does: the last event may be among it.
            biased;
            event = events.next() => event,
            () = &mut interrupt => break Ok(Ended::Interrupted),
        };
        match event {
            Some(Ok(event)) => {
                progress.show(&event);
                if let Some(ended) = last_word(event, operation) {
                    break ended;
                }
            }
            Some(Err(status)) if !status.details().is_empty() => {
                break Err(failure_of(&status, "", operation));
            }
            Some(Err(status)) => break Err(lost(operation, &failure_of(&status, "", "read").said)),
            None => break Err(lost(operation, "the stream of events ended early")),
        }
    };
    progress.end();
    ended
}

/// What the operation's last event says; nothing of any other.
fn last_word(event: Event, operation: &str) -> Option<Result<Ended, Failure>> {
    match event.kind() {
        EventKind::Finished => Some(Ok(Ended::Well(event.result.map(Box::new)))),
        EventKind::GaveUp => Some(Err(event.failure.unwrap_or_else(|| {
            Failure::new(FailureKind::Failed, operation.to_owned()).saying(event.text)
        }))),
        _ => None,
    }
}

/// The pool that came of an operation on one pool: success is believed only with its proof.
pub fn proven(pool: Option<Box<Pool>>, operation: &str) -> Result<Pool, Failure> {
    pool.map(|pool| *pool)
        .ok_or_else(|| lost(operation, "it is said to be finished, but not what came of it"))
}

fn lost(operation: &str, said: &str) -> Failure {
    Failure::new(FailureKind::Failed, format!("follow the {operation}"))
        .saying(format!("lost the controller: {said}"))
        .advising(
            "the operation goes on there, and whether it succeeds is not known here; \
             `rampool wait` follows it again, `rampool status` and `rampool events` tell of it",
        )
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::stream;

    use super::*;

    #[derive(Default)]
    struct Seen {
        texts: Vec<String>,
        ended: bool,
    }

    impl Progress for Seen {
        fn show(&mut self, event: &Event) {
            self.texts.push(event.text.clone());
        }

        fn end(&mut self) {
            self.ended = true;
        }
    }

    fn event(kind: EventKind, text: &str) -> Event {
        Event { kind: kind.into(), text: text.into(), ..Event::default() }
    }

    async fn follow_all(events: Vec<Result<Event, Status>>) -> (Seen, Result<Ended, Failure>) {
        let mut seen = Seen::default();
        let ended = follow(stream::iter(events), "up of demo", &mut seen, pending()).await;
        (seen, ended)
    }

    #[tokio::test]
    async fn the_last_event_carries_the_pool() {
        let result = Some(Pool { created_ms: 7, ..Pool::default() });
        let last = Event { result, ..event(EventKind::Finished, "b") };
        let (seen, ended) = follow_all(vec![Ok(event(EventKind::Done, "a")), Ok(last)]).await;
        let Ok(Ended::Well(pool)) = ended else { panic!("{ended:?}") };
        assert_eq!(proven(pool, "up of demo").unwrap().created_ms, 7);
        assert_eq!(seen.texts, ["a", "b"]);
        assert!(seen.ended);
    }

    #[tokio::test]
    async fn a_finish_without_a_pool_is_no_success() {
        let (_, ended) = follow_all(vec![Ok(event(EventKind::Finished, ""))]).await;
        let Ok(Ended::Well(pool)) = ended else { panic!("{ended:?}") };
        assert_eq!(proven(pool, "up of demo").unwrap_err().kind(), FailureKind::Failed);
    }

    #[tokio::test]
    async fn giving_up_is_the_failure_it_carries() {
        let failure = Failure::new(FailureKind::NotNow, "export").on("n3").saying("no memory");
        let last = Event { failure: Some(failure.clone()), ..event(EventKind::GaveUp, "") };
        assert_eq!(follow_all(vec![Ok(last)]).await.1.unwrap_err(), failure);
        let wordless = event(EventKind::GaveUp, "it broke");
        assert_eq!(follow_all(vec![Ok(wordless)]).await.1.unwrap_err().said, "it broke");
    }

    #[tokio::test]
    async fn a_lost_controller_is_a_failure_that_says_the_operation_goes_on() {
        for events in [vec![], vec![Err(Status::unavailable("reset"))]] {
            let (seen, ended) = follow_all(events).await;
            let failure = ended.unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Failed);
            assert!(failure.to_string().contains("the operation goes on"), "{failure}");
            assert!(seen.ended);
        }
    }

    #[tokio::test]
    async fn the_controllers_own_error_in_the_stream_is_passed_on() {
        let own = Failure::new(FailureKind::Conflict, "up of demo").saying("other parameters");
        let (_, ended) = follow_all(vec![Err(Status::from(own.clone()))]).await;
        assert_eq!(ended.unwrap_err(), own);
    }

    #[tokio::test]
    async fn an_interrupt_leaves_but_what_has_arrived_counts_first() {
        let mut seen = Seen::default();
        let ended = follow(stream::pending(), "up of demo", &mut seen, ready(())).await;
        assert!(matches!(ended, Ok(Ended::Interrupted)));
        let last = Event { result: Some(Pool::default()), ..event(EventKind::Finished, "") };
        let ended = follow(stream::iter([Ok(last)]), "up of demo", &mut seen, ready(())).await;
        assert!(matches!(ended, Ok(Ended::Well(_))));
    }
}
