//! The socket on the controller's own host, as whoever runs the tests; other users are tried where
//! there are some (`tests/slurm/users.rs`).

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rampool_proto::local;
use rampool_proto::v1::controller_client::ControllerClient;
use rampool_proto::v1::*;
use tonic::Code;

use super::grpc::{cluster, cluster_with, events};
use super::rig::spec;
use crate::person::Person;

fn whoever() -> Person {
    Person::of(nix::unistd::getuid().as_raw()).unwrap()
}

#[tokio::test]
async fn root_and_the_group_are_operators_by_the_socket_without_certificates() {
    let me = whoever();
    let group = me.groups.iter().next().unwrap().clone();
    let cluster = cluster_with(|config, _| config.socket.group = Some(group)).await;
    let socket = cluster.folder.path().join("socket");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o666);
    let mut client = ControllerClient::new(local::connect(&socket).await.unwrap());
    let up = client.up(UpRequest { spec: Some(spec()) }).await.unwrap().into_inner();
    let made = events(up).await.pop().unwrap().unwrap();
    assert_eq!(made.kind(), EventKind::Finished, "{made:?}");
    let seen = made.result.unwrap().spec.unwrap();
    // Root may say whose it is; of others the kernel says it.
    let owner = if me.uid == 0 { "ada" } else { &me.name };
    assert_eq!(seen.owner, owner);
    // A door of its own: what an operator by certificate may, one by the socket may.
    let drain = DrainRequest { nodes: "n4".into(), drain: true, reason: "disks".into() };
    client.drain(drain).await.unwrap();
}

#[tokio::test]
async fn nobody_else_is_served_by_the_socket() {
    let cluster = cluster().await;
    let socket = cluster.folder.path().join("socket");
    let mut client = ControllerClient::new(local::connect(&socket).await.unwrap());
    let answer = client.list_pools(ListPoolsRequest {}).await;
    match whoever().uid {
        0 => drop(answer.unwrap()),
        _ => assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied),
    }
}

#[tokio::test]
async fn strangers_at_the_desk_are_refused_in_words_that_name_them() {
    use crate::socket::{Desk, Local};
    use rampool_proto::v1::controller_server::ControllerServer;
    use tonic::body::Body;
    use tonic::codegen::Service;
    use tonic::codegen::http::Request;

    let (_folder, service) = super::users::inside();
    let operators = ControllerServer::from_arc(service);
    let mut desk = Desk { operators, users: None, group: Some("rampool".into()) };
    let person = Person { name: "eve".into(), uid: 4711, gid: 1, groups: [].into() };
    let eve = Local::User { person: Arc::new(person), pid: None };
    let unknown = Local::Unknown { uid: 4712, why: "no entry".into() };
    for (local, words) in [(eve, "eve (uid 4711)"), (unknown, "uid 4712 (no entry)")] {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(local);
        let answer = desk.call(request).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains(words), "{status}");
        assert!(status.message().contains("root and the group rampool"), "{status}");
    }
    let answer = desk.call(Request::new(Body::empty())).await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::PermissionDenied, "without its connection nobody is known");
}
