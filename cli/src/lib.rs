//! The command line of rampool.
//!
//! | module | idea |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`command`] | one file a command: what it asks of the controller |
//! | [`request`] | flags and pool files to a spec, and who asks |
//! | [`by`] | by which way we go to the controller |
//! | [`client`] | going there: configuration, connection, deadlines |
//! | [`operation`] | following an operation that the controller runs |
//! | [`progress`] | showing it: bars on a terminal, lines elsewhere |
//! | [`output`] | the documented contract of `-o json` and `-o yaml` |
//! | [`render`] | the same for people |
//! | [`pki`] | the cluster's CA and the certificates of its processes |
//! | [`exit`] | exit codes |

#![forbid(unsafe_code)]

pub mod args;
pub mod by;
pub mod client;
pub mod command;
pub mod exit;
pub mod operation;
pub mod output;
pub mod pki;
pub mod progress;
pub mod render;
pub mod request;
