//! How the agent serves: watchers, callers who leave, many at a time, and its own end.

use std::time::{Duration, Instant};

use rampool_proto::tls::Role;
use rampool_proto::v1::{Backend, FailureKind, HoldingKind};

use crate::cluster::{Cluster, MIB, demo, export_request, export_request_of, pool};
use crate::pki::Pki;

pub(crate) fn watchers_hear_of_changes_at_once_and_of_nothing_at_each_heartbeat(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let began = Instant::now();
    let (mut slow, mut quick) = (agent.watch(3600), agent.watch(1));
    let first = agent.next(&mut slow).unwrap();
    assert_eq!((first.node.as_str(), first.holdings.len()), ("n1", 0));
    assert!(first.abilities.iter().filter(|a| a.needed_for == 1).count() >= 5);
    // The first comes at once, the two after it a second apart.
    for _ in 0..3 {
        agent.next(&mut quick).unwrap();
    }
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(1800) && waited < Duration::from_secs(60), "{waited:?}");
    agent.export(Backend::RdMcp, 16).unwrap();
    let heard = agent.next(&mut slow).unwrap();
    assert!(heard.holdings.iter().any(|h| h.kind() == HoldingKind::Export), "{heard:?}");

    // Told to stop, the agent lets watchers go and leaves the export.
    agent.node.sh("kill $(pidof rampool-agent)").unwrap();
    while agent.next(&mut slow).is_some() {}
    agent
        .node
        .sh("i=0; while pidof rampool-agent; do sleep 0.05; i=$((i+1)); test $i -lt 1200; done")
        .unwrap();
    let agent = cluster.start("n1");
    assert!(agent.export(Backend::RdMcp, 16).unwrap().already);
    agent.destroy().unwrap();
}

pub(crate) fn nobody_but_the_controller_is_obeyed(cluster: &Cluster) {
    let node = cluster.agent("n1").node;
    // grep ends with 1 where it finds none.
    let count = "grep -c 'was refused' /var/log/rampool/agent.log || true";
    let tries = || node.sh(count).unwrap().trim().parse::<usize>().unwrap();
    let before = tries();
    for role in [None, Some(Role::Agent), Some(Role::Operator), Some(Role::Slurm)] {
        let agent = cluster.agent_as("n1", &cluster.pki.client(role));
        let refused = agent.inventory().unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Denied, "{role:?}: {refused}");
        let refused = agent.export(Backend::RdMcp, 16).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Denied, "{role:?}: {refused}");
    }
    // Another CA's controller does not even come to speak.
    let stranger = Pki::make().trusting(&cluster.pki);
    let agent = cluster.agent_as("n1", &stranger.client(Some(Role::Controller)));
    agent.inventory().unwrap_err();
    let agent = cluster.agent("n1");
    assert_eq!(agent.inventory().unwrap().holdings, []);
    // The stranger's call, which ends without a word, was made once more.
    assert_eq!(tries() - before, 10, "a line for each try");
}

pub(crate) fn a_caller_who_leaves_finds_the_export_made(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    agent.ask_and_leave(export_request(Backend::Tmpfs, 400));
    // The next call on the same pool waits for its turn, and finds it whole.
    assert!(agent.export(Backend::Tmpfs, 400).unwrap().already);
    agent.ask_and_leave(export_request(Backend::RdMcp, 400));
    agent.destroy().unwrap();
    assert!(agent.holdings().is_empty());
}

pub(crate) fn many_pools_at_a_time_never_get_more_than_there_is(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let lendable = agent.inventory().unwrap().memory.unwrap().lendable_bytes;
    let before = crate::cluster::traces(&agent.node);
    // Ten at a time, of which five fit.
    let share = lendable / MIB * 18 / 100;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (1..=10)
            .map(|number| {
                let agent = cluster.agent("n1");
                scope.spawn(move || {
                    let backend = if number % 2 == 0 { Backend::RdMcp } else { Backend::Tmpfs };
                    agent.create_export(export_request_of(("demo", number), backend, share))
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(made, 5, "{outcomes:?}");
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!(refused.kind(), FailureKind::NotNow, "{refused}");
    }
    let memory = agent.inventory().unwrap().memory.unwrap();
    assert_eq!(memory.lent_bytes, 5 * share * MIB);
    assert!(memory.available_bytes >= memory.floor_bytes, "{memory:?}");
    std::thread::scope(|scope| {
        for number in 1..=10 {
            let agent = cluster.agent("n1");
            scope.spawn(move || {
                let request = rampool_proto::v1::DestroyExportRequest {
                    pool: pool("demo", number),
                    ..Default::default()
                };
                agent.destroy_export(request).unwrap();
            });
        }
    });
    crate::cluster::assert_as_before(&agent.node, &before);
    assert!(
        agent
            .destroy_export(rampool_proto::v1::DestroyExportRequest {
                pool: demo(),
                ..Default::default()
            })
            .unwrap()
            .already
    );
}
